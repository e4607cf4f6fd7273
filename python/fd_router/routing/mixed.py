"""Mixed mode: one worker serves the whole request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fd_router._core import UpstreamError
from fd_router.errors import ClientGoneError, NoWorkerError
from fd_router.observe.logs import messages
from fd_router.routing.attempt import Failure, LegError, unanswered
from fd_router.routing.dispatch import Dispatch
from fd_router.routing.retry import GrantedError
from fd_router.routing.selection import Chooser

if TYPE_CHECKING:
    from fd_router._core import Exchange, Lease, Request
    from fd_router.downstream.client import Client
    from fd_router.routing.retry import Tries


class MixedDispatch(Dispatch[Chooser]):
    """Sends a request to a worker, and to others while the client has seen no byte of an answer."""

    def _again(self, client: Client, lost: LegError) -> None:
        self._log.warn(messages.retrying(lost.url, lost), client.tags, worker=lost.url, reason=str(lost))

    async def _give_up(self, client: Client, lost: LegError) -> None:
        known = {"worker": lost.url, "reason": str(lost)}
        self._log.error(messages.backend_failed(lost.url, lost), client.tags, **known)
        self._log.error(messages.connect_failed(lost), client.tags, **known)
        raise unanswered(lost) from lost

    async def _attempt(
        self, client: Client, request: Request, tokens: list[int] | None, tries: Tries
    ) -> None:
        lease = self._book(client, request, tokens, tries)
        url = lease.url
        client.leases = (lease,)
        client.attempts = tries.number
        if self._expose:
            client.extra = [(b"x-router-worker-url", url.encode())]
        under_way: Lease | Exchange = lease
        try:
            if self._selector.unsure(url):
                await self._confirm(url, request.model)
            under_way = exchange = self._send(client, request, lease, request.body)
            client.watch(exchange.cancel)
            head = await exchange.head()
            if self._conduct.answered(url, head):
                lease.answered()
            if tries.refused(head):
                tries.pass_on(LegError("mixed", url, Failure.of_head(head)))
            broken = await self._delivery.deliver(client, exchange, head, url=url)
            if broken is None:
                exchange.complete(head.status)
                self._conduct.served(url, head.status)
            else:
                self._conduct.cut(url, head.status, broken.kind)
        except UpstreamError as error:
            raise self._lost(client, url, tries, error) from error
        except BaseException:
            self._conduct.given_up(url)
            raise
        finally:
            under_way.release()

    def _book(self, client: Client, request: Request, tokens: list[int] | None, tries: Tries) -> Lease:
        try:
            return self._selector.book("mixed", request, client.tags, tokens=tokens, exclude=tries.failed)
        except NoWorkerError as error:
            self._log.error(messages.selection_failed("mixed", error), client.tags)
            self._log.error(messages.worker_not_selected(error), client.tags)
            raise NoWorkerError(f"Failed to select worker: {error}") from error

    async def _confirm(self, url: str, model: str | None) -> None:
        """Ask a worker that ended for its models. Raises `GrantedError` where another is to be chosen."""
        if not await self._selector.confirm(url, model):
            raise GrantedError(f"mixed worker {url} serves another model by now")

    def _lost(self, client: Client, url: str, tries: Tries, error: UpstreamError) -> Exception:
        """What to raise for an exchange that failed before the client saw anything."""
        if client.gone:
            self._conduct.given_up(url)
            return ClientGoneError("waiting")
        self._conduct.failed(url, error.kind)
        self._metrics.upstream_error(url, error.kind)
        self._log.error(
            messages.attempt_failed(tries.number, self._attempts, error),
            client.tags,
            worker=url,
            reason=str(error),
            attempt=tries.number,
        )
        return LegError("mixed", url, Failure.of_error(error), begun=error.received)
