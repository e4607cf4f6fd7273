"""The client's side of a request: an ASGI connection as the use cases see it.

A client's leaving is watched in every phase of a request, but only once it has lasted for `WATCH_AFTER` seconds: asking
the server wakes two of its threads, which costs more than a short request itself. granian's awaitables are future-like,
so the watch is a callback instead of a task; other ASGI servers hand out coroutines, which become tasks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from fd_router._core import RequestHead
from fd_router.downstream import headers as http_headers
from fd_router.downstream import request_id
from fd_router.downstream.body import BodyClock
from fd_router.errors import BadRequestError, BodyTooLargeError, RequestTimeoutError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from fd_router._core import Lease
    from fd_router.downstream.body import BodyLimits
    from fd_router.downstream.request_id import RequestId
    from fd_router.observe.tracing import Trace
    from fd_router.runtime.overdue import OverdueWatch
    from fd_router.types import Headers

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

WATCH_AFTER = 0.1
"""Seconds, up to twice as many, for which a request is not watched, nor its body timed: what is answered by then
needs neither."""
SWALLOWED = 4096
"""Bytes of an unread body that the server reads on, as they came with the head, to keep the connection."""
JSON = b"application/json; charset=utf-8"


class Client:
    """One request of one client.

    `status` is what it was answered (0 before that); `tags` stand before its log lines; `head` is what
    the router reads of its headers; `extra` are headers that go out with its answer, an error's too; `marks` are
    headers of whatever it is answered: whoever sends a head past `answer` adds them. `request_id` is its id, and
    `sent_id` that as it sent it, None where it sent none. `pair_id` is what the workers of a pair know it by.
    """

    # Defaults stand at the class: most requests need few of them, and all requests are made here.
    pair_id: str | None = None
    leases: tuple[Lease, ...] = ()
    """Of the last attempt: a worker's, or those of prefill and decode."""
    attempts = 0
    trace: Trace | None = None
    """Its spans, where requests are traced."""
    error: str | None = None
    """`RouterError.code` of what it was refused with, or the kind of what broke its answer off."""
    shared: Headers | None = None
    """What else is among its marks."""
    status = 0
    gone = False
    tags = ""
    _whole = False
    """Whether its body was read to the end."""
    _pending = False
    _lasting = False
    _reading: Any = None
    _limits: BodyLimits | None = None
    _clock: BodyClock | None = None
    _expired = ""
    _listening = False
    _on_gone: Callable[[], None] | None = None

    def __init__(self, scope: dict[str, Any], receive: Receive, send: Send, watch: OverdueWatch) -> None:
        """`watch` has a delay of `WATCH_AFTER` seconds, in the loop that serves the request."""
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.headers: Headers = scope["headers"]
        self.peer = http_headers.client_ip(scope.get("client"))
        self.send = send
        self.extra: Headers = []
        self.head = RequestHead(self.headers, scope["http_version"])
        self.name(request_id.of_head(self.head))
        self._receive = receive
        self._overdue_watch = watch

    def name(self, known: RequestId) -> None:
        """Know it by an id."""
        self.request_id, self.sent_id, self.traced = known

    def carry_id(self) -> None:
        """Have its engine told its id, in place of what it wrote there."""
        mark = [(request_id.HEADER, self.request_id.encode())]
        # Most clients send none: then there is nothing to look for among all headers.
        has_id = self.head.has_id
        self.headers = http_headers.joined(self.headers, mark) if has_id else [*self.headers, *mark]

    def facts(self) -> dict[str, str | float | None]:
        """What its access line has of how it was served."""
        facts: dict[str, str | float | None] = {"error": self.error}
        if self.leases:
            *prefill, lease = self.leases
            facts |= {"worker": lease.url, "policy": lease.policy, "reason": lease.reason}
            facts["attempts"] = self.attempts
            for each in prefill:
                facts |= {
                    "prefill_worker": each.url,
                    "prefill_policy": each.policy,
                    "prefill_reason": each.reason,
                }
        return facts

    def marks(self) -> Headers:
        """Headers of whatever it is answered."""
        mark = (request_id.HEADER, self.request_id.encode())
        return [mark, *self.shared] if self.shared else [mark]

    async def read_body(self, limits: BodyLimits) -> bytes:
        """The whole body; see `read_pieces`."""
        return b"".join(await self.read_pieces(limits))

    async def read_pieces(
        self, limits: BodyLimits, more: Callable[[int], object] | None = None
    ) -> list[bytes]:
        """The whole body as it came; to be called once, before anything else is waited for.

        Raises `UnsupportedCodingError` for one that is compressed, `BodyTooLargeError` for one over the limit (at the
        announced length, before a byte is read), `RequestTimeoutError`, `BadRequestError` when it breaks off:
        the server tells in the same way of chunks that are malformed, of a client that has closed its direction only,
        which hears an answer, and of one that is gone; and whatever `more` raises, which is told of the bytes of each
        piece.
        """
        announced = http_headers.body_length(self.head)
        limit = limits.size
        if announced is not None and announced > limit:
            raise BodyTooLargeError(f"body of {announced} bytes, at most {limit} are accepted")
        self._limits = limits
        self._wait()
        pieces: list[bytes] = []
        size = 0
        try:
            # With a known length the end is known without asking the server for it once more.
            while announced is None or size < announced:
                if self._expired:
                    # A piece had just come, so that there was no waiting to end.
                    raise RequestTimeoutError(self._expired)
                self._reading = future_like(self._receive())
                message = await self._reading
                if message["type"] != "http.request":
                    raise BadRequestError(broken_off(announced, size))
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                if more is not None:
                    more(len(pieces[-1]))
                if self._clock is not None:
                    self._clock.moved()
                if size > limit:
                    raise BodyTooLargeError(f"body of more than {limit} bytes, which is the limit")
                if not message.get("more_body", False):
                    break
            self._whole = True
        except asyncio.CancelledError:
            if not self._expired:
                raise
            raise RequestTimeoutError(self._expired) from None
        finally:
            self._reading = None
            if self._clock is not None:
                self._clock.stop()
                # It refers to this client: what is left to the collector would keep the connection, whose body the
                # server still wants to hand over, for as long.
                self._clock = None
        return pieces

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Call `on_gone` once if the client leaves before its answer is complete; replaces an earlier callback."""
        self._on_gone = on_gone
        if self.gone:
            on_gone()
        elif not self._pending:
            self._wait()
        elif self._lasting and not self._listening:
            self._listen()

    def _wait(self) -> None:
        self._pending = True
        self._overdue_watch.add(self)

    def overdue(self) -> None:
        """The request is no short one."""
        self._lasting = True
        if self._reading is not None and self._limits is not None:
            self._clock = BodyClock(self._limits, self._expire)
        elif self._on_gone is not None:
            self._listen()

    def _expire(self, why: str) -> None:
        self._expired = why
        self._reading.cancel()

    def _listen(self) -> None:
        self._listening = True
        future_like(self._receive()).add_done_callback(self._received)

    def _received(self, waiting: asyncio.Future[Message]) -> None:
        if self._on_gone is None or waiting.cancelled():
            return
        if waiting.exception() is None and waiting.result()["type"] == "http.request":
            self._listen()
            return
        self.gone = True
        self._on_gone()

    def settle(self) -> None:
        """The answer is complete: the client's leaving means nothing any more."""
        self._on_gone = None
        if self._pending:
            self._pending = False
            self._overdue_watch.discard(self)

    def start_message(self, status: int, headers: Headers) -> Message:
        """The message that begins an answer; whoever sends it has answered with `status`."""
        self.status = status
        return {"type": "http.response.start", "status": status, "headers": headers}

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """Send a whole answer."""
        marks = self.marks()
        given_up = self._limits is not None
        if not self._whole and (given_up or self.head.has_body_over(SWALLOWED)):
            # The server closes the connection then, and a client that is not told sends its next request on it.
            marks.append(http_headers.LAST)
        await self.send(self.start_message(status, http_headers.joined(headers, marks)))
        await self.send({"type": "http.response.body", "body": body, "more_body": False})
        self.settle()

    async def answer_json(self, status: int, payload: object, extra: Headers | None = None) -> None:
        """Send a whole JSON answer with a content length."""
        body = orjson.dumps(payload)
        headers = [(b"content-type", JSON), (b"content-length", b"%d" % len(body)), *(extra or [])]
        await self.answer(status, body, headers)

    async def finish(self, last: bytes = b"") -> None:
        """End a streamed answer, with some last bytes."""
        await self.send({"type": "http.response.body", "body": last, "more_body": False})
        self.settle()


def broken_off(announced: int | None, received: int) -> str:
    """Why a body is not whole."""
    if announced is None:
        return f"chunks are malformed, or ended early, after {received} bytes"
    return f"ended after {received} of {announced} bytes"


def future_like(message: Any) -> Any:
    """Something that can be cancelled and asked to call back."""
    return message if hasattr(message, "add_done_callback") else asyncio.ensure_future(message)
