"""Mixed mode: one worker serves the whole request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fd_router._core import UpstreamError
from fd_router.errors import BadGatewayError, ClientGoneError, NoWorkerError
from fd_router.observe.logs import messages
from fd_router.routing.delivery import Delivery
from fd_router.upstream.relay import retryable

if TYPE_CHECKING:
    from fd_router._core import Lease, Request
    from fd_router.downstream.client import Client
    from fd_router.observe.logs import Log
    from fd_router.observe.metrics import Metrics
    from fd_router.routing.selection import Selector
    from fd_router.upstream.relay import Upstream


class MixedDispatch:
    """Sends a request to a worker, and to others while the client has seen no byte of an answer."""

    def __init__(
        self, selector: Selector, upstream: Upstream, log: Log, metrics: Metrics, attempts: int
    ) -> None:
        self._selector = selector
        self._upstream = upstream
        self._delivery = Delivery(log, metrics)
        self._log = log
        self._metrics = metrics
        self._attempts = attempts

    async def serve(self, client: Client, request: Request) -> None:
        """Answer the client. Raises `RouterError` for what the edge must answer."""
        start = time.perf_counter()
        tokens = await self._selector.tokens(request, client.tags)
        failed: list[str] = []
        for attempt in range(1, self._attempts + 1):
            booking = self._book(client, request, tokens, failed)
            try:
                await self._attempt(client, request, booking, start)
            except UpstreamError as error:
                self._failed(client, booking.url, attempt, error)
                failed.append(booking.url)
            else:
                self._metrics.duration(time.perf_counter() - start)
                return
            finally:
                booking.release()

    def _book(self, client: Client, request: Request, tokens: list[int] | None, failed: list[str]) -> Lease:
        try:
            return self._selector.book("mixed", request, client.tags, tokens=tokens, exclude=failed)
        except NoWorkerError as error:
            self._log.error(messages.selection_failed("mixed", error), client.tags)
            self._log.error(messages.worker_not_selected(error), client.tags)
            raise NoWorkerError(f"Failed to select worker: {error}") from error

    async def _attempt(self, client: Client, request: Request, booking: Lease, start: float) -> None:
        exchange = self._upstream.send(
            booking.url + client.path, client.headers, request.body, collect=not request.stream
        )
        try:
            client.watch(exchange.cancel)
            head = await exchange.head
            self._metrics.inference(mixed=booking.url, status=head.status)
            release = booking.release_tokens if request.stream else None
            whole = await self._delivery.deliver(client, exchange, head, start, release)
        finally:
            exchange.cancel()
        if whole:
            self._log.info(messages.COMPLETED, client.tags)

    def _failed(self, client: Client, url: str, attempt: int, error: UpstreamError) -> None:
        """Log one failed attempt; raises when it was the last, or when nobody waits any more."""
        if client.gone:
            raise ClientGoneError("waiting") from error
        self._metrics.upstream_error(error.kind)
        self._log.error(messages.attempt_failed(attempt, self._attempts, error), client.tags)
        if attempt == self._attempts or not retryable(error):
            self._log.error(messages.backend_failed(url, error), client.tags)
            self._log.error(messages.connect_failed(error), client.tags)
            raise BadGatewayError(f"Failed to connect to backend service: {error}") from error
        self._metrics.retry()
        self._log.warn(messages.retrying(url, error), client.tags)
