"""A request's choices and sends with their spans, where requests are traced: what a dispatch works with, wrapped.

Wrapped for each request that is traced, so that one that is not pays for none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fd_router._core import UpstreamError
from fd_router.errors import RouterError

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from fd_router._core import Exchange, Head, Lease
    from fd_router.downstream.client import Client
    from fd_router.observe.tracing import Part, Trace
    from fd_router.types import Headers


class TracedChooser:
    """A chooser whose choices are spans; all else of it is as it was."""

    def __init__(self, chooser: Any, trace: Trace) -> None:
        self._chooser = chooser
        self._trace = trace

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chooser, name)

    def book(self, role: str, *arguments: Any, **more: Any) -> Lease:
        """See `Selector.book`."""
        span = self._trace.choice()
        span.tell(role=role)
        try:
            lease: Lease = self._chooser.book(role, *arguments, **more)
            span.tell(worker=lease.url, policy=lease.policy, reason=lease.reason)
        except RouterError as error:
            span.failed(error.code)
            raise
        finally:
            span.end()
        return lease


class TracedUpstream:
    """Sends requests, each within a span that its worker is told of."""

    def __init__(self, upstream: Any, trace: Trace, client: Client) -> None:
        self._upstream = upstream
        self._trace = trace
        self._client = client

    def send(self, url: str, headers: Headers, body: bytes, **more: Any) -> TracedExchange:
        """See `Upstream.send`."""
        span = self._trace.attempt(url)
        leases = self._client.leases
        prefill = len(leases) > 1 and url == leases[0].url + self._client.path
        role = "prefill" if prefill else "decode" if len(leases) > 1 else "mixed"
        span.tell(attempt=self._client.attempts, role=role)
        try:
            exchange = self._upstream.send(url, span.carried(headers), body, **more)
        except BaseException:
            span.end()
            raise
        return TracedExchange(exchange, span)


class TracedExchange:
    """An exchange whose span ends with it; all else of it is as it was."""

    def __init__(self, exchange: Exchange, span: Part) -> None:
        self._exchange = exchange
        self._span = span
        self._head: Future[Head] | None = None
        self._body: Future[None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exchange, name)

    def head(self) -> Future[Head]:
        """See `Exchange.head`."""
        self._head = self._exchange.head()
        self._head.add_done_callback(self._headed)
        return self._head

    def forward(self, send: Any, on_first: Callable[[], object] | None = None, *head: Any) -> Future[None]:
        """See `Exchange.forward`."""
        return self._until(self._exchange.forward(send, self._first(on_first), *head))

    def discard(self, on_first: Callable[[], object] | None = None) -> Future[None]:
        """See `Exchange.discard`."""
        return self._until(self._exchange.discard(self._first(on_first)))

    def cancel(self) -> None:
        """See `Exchange.cancel`."""
        self._over()
        self._exchange.cancel()
        self._span.end()

    def release(self) -> None:
        """See `Exchange.release`."""
        self._over()
        self._exchange.release()
        self._span.end()

    def _over(self) -> None:
        # Whoever waits for either may go on, and come here, before its callback is called.
        if self._head is not None and self._head.done():
            self._headed(self._head)
        if self._body is not None and self._body.done():
            self._ended(self._body)

    def _until(self, body: Future[None]) -> Future[None]:
        self._body = body
        body.add_done_callback(self._ended)
        return body

    def _first(self, then: Callable[[], object] | None) -> Callable[[], None]:
        def first() -> None:
            self._span.event("first byte")
            if then is not None:
                then()

        return first

    def _headed(self, future: Future[Head]) -> None:
        error = None if future.cancelled() else future.exception()
        if isinstance(error, UpstreamError):
            self._span.failed(error.kind)
            self._span.end()
        elif error is None and not future.cancelled():
            head = future.result()
            self._span.answered(head.status)
            if head.body is not None:
                # It came in one piece, and nobody may ever cancel it.
                self._span.event("first byte")
                self._span.end()

    def _ended(self, future: Future[None]) -> None:
        error = None if future.cancelled() else future.exception()
        if isinstance(error, UpstreamError):
            self._span.failed(error.kind)
        self._span.end()
