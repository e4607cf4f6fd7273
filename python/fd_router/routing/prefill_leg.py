"""The prefill leg of a pair: read for its effect, and the first to know that a pair is lost.

Driven by callbacks on the exchange's futures rather than by a task of its own: in the good case the leg costs the
loop two short calls. The leg holds prefill's booking and gives it back at the first chunk (stream), at the end of
the body (unary), or when it is closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fd_router._core import UpstreamError
from fd_router.observe.logs import messages

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, MutableMapping

    from fd_router._core import Exchange, Head, Lease
    from fd_router.observe.logs import Log
    from fd_router.types import Headers

REFUSAL_LIMIT = 65_536
"""Bytes of a refusal's body that are kept for the client."""


@dataclass(frozen=True, slots=True)
class LegFailure:
    """Why a leg did not do its part: an answer with a status of 400 or more, or no answer (`error`)."""

    status: int
    headers: Headers
    body: bytes
    error: UpstreamError | None = None

    @property
    def refused(self) -> bool:
        """Whether the worker refused the request itself, so that another worker would too."""
        return self.error is None and self.status < 500


class PrefillLeg:
    """Watches one exchange with a prefill worker; calls `on_failure` once if it does not do its part."""

    def __init__(
        self,
        exchange: Exchange,
        booking: Lease,
        log: Log,
        tags: str,
        *,
        stream: bool,
        on_failure: Callable[[], None],
    ) -> None:
        self.failure: LegFailure | None = None
        self._exchange = exchange
        self._booking = booking
        self._log = log
        self._tags = tags
        self._stream = stream
        self._on_failure = on_failure
        self._open = True
        self._reading = False
        self._released = False
        self._refusal = bytearray()
        exchange.head.add_done_callback(self._headed)

    @property
    def answered(self) -> bool:
        """Whether the worker has begun to answer."""
        return self._reading

    def _headed(self, future: Future[Head]) -> None:
        if not self._open:
            _consume(future)
            return
        try:
            head = future.result()
        except UpstreamError as error:
            self._fail(LegFailure(502, [], b"", error))
            return
        self._reading = True
        if head.status >= 400:
            self._read_refusal(head)
        elif head.body is not None:
            self._done()
        else:
            first = self._first_chunk if self._stream else None
            self._exchange.discard(first).add_done_callback(self._ended)

    def _read_refusal(self, head: Head) -> None:
        if head.body is not None:
            self._fail(LegFailure(head.status, head.headers, head.body))
            return

        def whole(future: Future[None]) -> None:
            _consume(future)
            if self._open:
                # The length that was announced may be more than what was kept or came.
                headers = [(name, value) for name, value in head.headers if name != b"content-length"]
                self._fail(LegFailure(head.status, headers, bytes(self._refusal)))

        self._exchange.forward(self._keep).add_done_callback(whole)

    async def _keep(self, message: MutableMapping[str, Any]) -> None:
        room = REFUSAL_LIMIT - len(self._refusal)
        self._refusal += message.get("body", b"")[:room]

    def _first_chunk(self) -> None:
        if self._open:
            self._release(messages.prefill_first_chunk(self._booking.url))

    def _ended(self, future: Future[None]) -> None:
        if not self._open:
            _consume(future)
            return
        try:
            future.result()
        except UpstreamError as error:
            self._log.error(messages.prefill_copy_error(error), self._tags)
            self._fail(LegFailure(502, [], b"", error))
        else:
            self._done()

    def _done(self) -> None:
        self._release(messages.prefill_done(self._booking.url))

    def _fail(self, failure: LegFailure) -> None:
        self.failure = failure
        self._on_failure()

    def _release(self, message: str) -> None:
        if self._released:
            return
        self._released = True
        self._booking.release()
        self._log.info(message, self._tags)

    def close(self) -> None:
        """The pair is over: stop reading and give back what is still booked. Idempotent."""
        self._open = False
        self._exchange.cancel()
        url = self._booking.url
        self._release(
            messages.prefill_fallback(url, self._stream)
            if self._reading
            else messages.prefill_error_path(url)
        )


def _consume(future: Future[Any]) -> None:
    """Look at a result that nobody needs any more, so that asyncio does not report it as forgotten."""
    if not future.cancelled():
        future.exception()
