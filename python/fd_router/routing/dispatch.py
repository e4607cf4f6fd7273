"""What both modes do alike with a request: choose, send, and try again as far as the rule of retries lets them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from fd_router.routing.attempt import LegError
from fd_router.routing.delivery import Delivery
from fd_router.routing.retry import Tries
from fd_router.routing.traced import TracedChooser, TracedUpstream

if TYPE_CHECKING:
    from fd_router._core import Exchange, Lease, Request
    from fd_router.downstream.client import Client
    from fd_router.fleet.conduct import Conduct
    from fd_router.observe.logs import Log
    from fd_router.observe.metrics import Metrics
    from fd_router.observe.tracing import Trace
    from fd_router.routing.retry import Retries
    from fd_router.routing.selection import Chooser
    from fd_router.upstream.relay import Upstream

C = TypeVar("C", bound="Chooser")


@dataclass(frozen=True, slots=True)
class Means:
    """What every dispatch works with."""

    upstream: Upstream
    conduct: Conduct
    log: Log
    metrics: Metrics


class Dispatch(ABC, Generic[C]):
    """Serves requests; what an attempt is, and what becomes of a lost one, is the mode's."""

    def __init__(
        self, means: Means, selector: C, retries: Retries, attempts: int, *, expose_worker_urls: bool
    ) -> None:
        self._expose = expose_worker_urls
        self._upstream = means.upstream
        self._conduct = means.conduct
        self._log = means.log
        self._metrics = means.metrics
        self._delivery = Delivery(means.log, means.metrics)
        self._selector = selector
        self._retries = retries
        self._attempts = attempts

    def set_attempts(self, attempts: int) -> None:
        """Try requests that come from now on so often."""
        self._attempts = attempts

    def expose(self, urls: bool) -> None:
        """Tell clients which workers serve them, or not."""
        self._expose = urls

    async def serve(self, client: Client, request: Request) -> None:
        """Answer the client. Raises `RouterError` for what the edge must answer."""
        tokens = await self._selector.tokens(request, client.tags)
        tries = Tries(self._retries, self._attempts, client, request, self._again)
        served_by = self if client.trace is None else self._traced(client, client.trace)
        try:
            await tries.run(served_by._attempt, tokens)
        except LegError as lost:
            request.lost(lost.told, again=False)
            await self._give_up(client, lost)
        else:
            self._metrics.duration(request.age)

    def _traced(self, client: Client, trace: Trace) -> Dispatch[C]:
        """This dispatch, with spans of what it does for one client."""
        twin = copy(self)
        twin._selector = cast("C", TracedChooser(self._selector, trace))
        twin._upstream = cast("Upstream", TracedUpstream(self._upstream, trace, client))
        return twin

    def _send(self, client: Client, request: Request, lease: Lease, body: bytes) -> Exchange:
        return self._upstream.send(
            lease.url + client.path,
            client.headers,
            body,
            query=client.query,
            method=client.method,
            collect=request.whole,
            lease=lease,
        )

    @abstractmethod
    async def _attempt(
        self, client: Client, request: Request, tokens: list[int] | None, tries: Tries
    ) -> None:
        """Serve the request once. Raises `LegError`, `GrantedError`, and what the edge must answer."""

    @abstractmethod
    def _again(self, client: Client, lost: LegError) -> None:
        """An attempt is lost, and another follows."""

    @abstractmethod
    async def _give_up(self, client: Client, lost: LegError) -> None:
        """The last attempt is lost: tell the client, or raise what the edge must answer."""
