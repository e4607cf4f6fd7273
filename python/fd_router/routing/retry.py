"""When a request is sent again: the one rule, for single workers and for pairs.

A request is sent again
- when a connection failed and nothing of an answer was received, so that no engine is known to work on it; a whole
  answer that did not come in time is not asked for again: the engine may be at it still, and so would be the next
  (but a pair whose prefill is silent is not at it);
- when a worker refused it with one of `upstream.retry-statuses`, or a leg of a pair failed with 5xx, and no byte of the
  answer has reached the client;
and then only
- `attempts` times in all, over all workers;
- to a worker that has not had it, is not failing itself, and after a refusal is not refusing itself; to the same worker
  only where there is no other at all; a decode that is well while its prefill is lost has had it too;
- within the budget of the whole router, so that a fleet in trouble does not get a multiple of its load: each request
  earns a fifth of a retry, each second three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fd_router.fleet import outcome
from fd_router.fleet.outcome import FIRST_BYTE_TIMEOUT
from fd_router.routing.attempt import LegError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from fd_router._core import Head, Request, UpstreamError
    from fd_router.config import UpstreamConfig
    from fd_router.downstream.client import Client
    from fd_router.fleet.conduct import Conduct
    from fd_router.observe.metrics import Metrics
    from fd_router.types import Role

    Attempt = Callable[[Client, Request, list[int] | None, "Tries"], Awaitable[None]]
    """One attempt at a request, with the tokens of its prompt where they are known."""

EARNED_BY_REQUEST = 0.2
EARNED_BY_SECOND = 3.0
EPSILON = 1e-6
"""Fifths do not add up to a whole in binary."""
BURST = 100.0
"""Retries that a quiet time saves up, and that a router starts with."""


class RetryBudget:
    """A token bucket over all requests of the router. Times are seconds of one monotonic clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._level = BURST
        self._seen = clock()

    def earn(self) -> None:
        """A request has come."""
        self._level = min(BURST, self._level + EARNED_BY_REQUEST)

    def spend(self) -> bool:
        """Take one retry; False when there is none."""
        now = self._clock()
        self._level = min(BURST, self._level + EARNED_BY_SECOND * (now - self._seen))
        self._seen = now
        if self._level < 1.0 - EPSILON:
            return False
        self._level -= 1.0
        return True


class GrantedError(Exception):
    """An attempt is over, and another one is granted; or none was made, as the worker serves another model by now.

    `str()` says why.
    """


class Fleet(Protocol):
    """Who could be sent to, as the scheduler tells it."""

    def left(self, role: Role, exclude: Sequence[str] = (), model: str | None = None) -> tuple[int, int]:
        """See `Scheduler.left`."""


@dataclass(slots=True)
class Retries:
    """What decides about retries, in all requests."""

    scheduler: Fleet
    conduct: Conduct
    budget: RetryBudget
    metrics: Metrics
    statuses: Collection[int]
    """Statuses of refusals that another worker may not share."""

    def reconfigure(self, upstream: UpstreamConfig) -> None:
        """Send again what is answered by other statuses."""
        self.statuses = upstream.retry_statuses


class Tries:
    """The tries of one request."""

    def __init__(
        self,
        retries: Retries,
        attempts: int,
        client: Client,
        request: Request,
        on_retry: Callable[[Client, LegError], None],
    ) -> None:
        """`on_retry` is told what is lost when another attempt follows."""
        self._retries = retries
        self._attempts = attempts
        self._client = client
        self._request = request
        self._on_retry = on_retry
        self.number = 1
        """Of the present try."""
        self.failed: list[str] = []
        """Workers that are not to be chosen again."""
        retries.budget.earn()

    async def run(self, attempt: Attempt, tokens: list[int] | None) -> None:
        """Make attempts until one is through. Raises `LegError` for the last one, and whatever else one raises."""
        while True:
            try:
                await attempt(self._client, self._request, tokens, self)
            except GrantedError as granted:
                why = str(granted)
            except LegError as lost:
                if not self.grant(lost):
                    raise
                why = lost.told
            else:
                return
            self._request.lost(why)
            self.number += 1

    def grant(self, lost: LegError) -> bool:
        """Decide whether another attempt follows; if so its worker will be another, as far as there is one."""
        error = lost.failure.error
        wanted = self._may_fail_over(lost, error) if error is not None else self._may_refuse(lost)
        if not wanted or self.number >= self._attempts:
            return False
        if not self._somebody(lost.role, [*self.failed, lost.url], refused=error is None):
            self._retries.metrics.retry_denied("no_candidate")
            return False
        if not self._retries.budget.spend():
            self._retries.metrics.retry_denied("budget")
            return False
        self.failed.extend(lost.avoided)
        self.failed.extend(url for url in self._retries.conduct.suspects() if url not in self.failed)
        self._retries.metrics.retry(lost.url)
        self._on_retry(self._client, lost)
        return True

    def pass_on(self, lost: LegError) -> None:
        """Raise where another worker is asked in place of an answer that nobody has seen; else deliver it."""
        if self.grant(lost):
            raise GrantedError(lost.told)

    def refused(self, head: Head) -> bool:
        """Whether an answer is a refusal that another worker may not share."""
        return head.status in self._retries.statuses

    def _may_fail_over(self, lost: LegError, error: UpstreamError) -> bool:
        # Where both legs of a pair are silent, or prefill is, decode cannot be at work.
        at_work = lost.role != "prefill" and len(lost.suspects) == 1
        late = error.kind == FIRST_BYTE_TIMEOUT and not self._request.stream and at_work
        return outcome.of_kind(error.kind) == "fault" and not (lost.begun or late)

    def _may_refuse(self, lost: LegError) -> bool:
        status = lost.failure.status
        return status in self._retries.statuses or (lost.role != "mixed" and status >= 500)

    def _somebody(self, role: Role, tried: list[str], *, refused: bool) -> bool:
        """Whether sending again makes sense: see the rule above."""
        suspects = self._retries.conduct.suspects()
        fresh, passed_over = self._left(role, [*tried, *suspects])
        if fresh or (passed_over and not refused):
            return True
        if refused or any(self._left(role, tried)):
            return False
        # Everybody has had it: the same worker again, unless it fails all the time.
        return any(self._left(role, suspects))

    def _left(self, role: Role, exclude: list[str]) -> tuple[int, int]:
        return self._retries.scheduler.left(role, exclude, self._request.model)
