"""HTTP/1.1 from the server's side, with every byte and every close in the caller's hands.

A web framework would hide what faults are made of: a head without a body, half a frame, a reset, a reply that
says one length and has another. A connection here serves one request at a time and gives the caller `write`,
`close` and `reset`; when the client leaves, the task that serves it is cancelled.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import traceback
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

MAX_HEAD = 65_536
MAX_BODY = 256 << 20


class BadRequestError(Exception):
    """Bytes that are no HTTP request; `status` is that of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came."""

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, in order."""
    head: bytes
    """The raw head, blank line included."""
    body: bytes
    """Without transfer coding."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str:
        """The first value of a header, `""` where there is none."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def keep_alive(self) -> bool:
        """Whether the client will use the connection again."""
        return self.version == "HTTP/1.1" and self.header("connection").lower() != "close"


class Parser:
    """Takes bytes as they arrive, gives whole requests."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._requests = self._run()
        self.wants_continue = False
        """A client waits for `100 Continue` before it sends its body."""

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._buffer += data

    @property
    def pending(self) -> int:
        """Bytes fed and not yet taken."""
        return len(self._buffer)

    def next(self) -> Request | None:
        """The next whole request, or None until more bytes come. Raises `BadRequestError`."""
        return next(self._requests)

    def _run(self) -> Generator[Request | None, None, None]:
        while True:
            head = yield from self._until(b"\r\n\r\n")
            method, target, version, headers = split_head(head)
            fields = dict(headers)
            self.wants_continue = fields.get("expect", "").lower() == "100-continue"
            if "chunked" in fields.get("transfer-encoding", "").lower():
                body = yield from self._chunks()
            else:
                body = yield from self._exactly(length_of(fields.get("content-length", "0"), 10))
            self.wants_continue = False
            yield Request(method, target, version, headers, head, body)

    def _until(self, mark: bytes) -> Generator[None, None, bytes]:
        start = 0
        while (at := self._buffer.find(mark, start)) < 0:
            if len(self._buffer) > MAX_HEAD:
                raise BadRequestError(431, f"head over {MAX_HEAD} bytes")
            start = max(0, len(self._buffer) - len(mark) + 1)
            yield
        return self._take(at + len(mark))

    def _exactly(self, size: int) -> Generator[None, None, bytes]:
        while len(self._buffer) < size:
            yield
        return self._take(size)

    def _chunks(self) -> Generator[None, None, bytes]:
        body = bytearray()
        while True:
            line = yield from self._until(b"\r\n")
            size = length_of(line.partition(b";")[0].strip().decode("latin-1"), 16)
            data = yield from self._exactly(size + 2)
            if size == 0:
                return bytes(body)
            body += data[:-2]
            if len(body) > MAX_BODY:
                raise BadRequestError(413, f"body over {MAX_BODY} bytes")

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def split_head(head: bytes) -> tuple[str, str, str, tuple[tuple[str, str], ...]]:
    """Method, target, version and headers of a raw head. Raises `BadRequestError`."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequestError(400, f"bad request line {first[:100]!r}")
    pairs = [line.partition(":") for line in lines]
    if not all(colon for _, colon, _ in pairs):
        raise BadRequestError(400, "header line without a colon")
    headers = tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)
    return parts[0], parts[1], parts[2], headers


def length_of(text: str, base: int) -> int:
    """A body's or a chunk's length. Raises `BadRequestError`."""
    try:
        length = int(text, base)
    except ValueError:
        length = -1
    if length < 0:
        raise BadRequestError(400, f"bad length {text[:40]!r}")
    if length > MAX_BODY:
        raise BadRequestError(413, f"body over {MAX_BODY} bytes")
    return length


def format_head(status: int, headers: list[tuple[str, str]]) -> bytes:
    """The bytes of a response's head, blank line included."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(
        self,
        serve: Callable[[Request, Connection], Awaitable[None]],
        *,
        opened: Callable[[Connection], None],
        closed: Callable[[Connection], None],
    ) -> None:
        self._serve = serve
        self._opened = opened
        self._closed = closed
        self._parser = Parser()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._ignoring = False
        self._left = False
        self.transport: asyncio.Transport
        self.idle_secs = 0.0
        """Close the connection after this long without a request; 0 never."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of `asyncio.Protocol`."""
        self.transport = cast("asyncio.Transport", transport)
        self._opened(self)
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of `asyncio.Protocol`: whoever is being served is gone."""
        self._left = True
        self._writable.set()
        self._stop_idle_timer()
        if self._task is not None:
            self._task.cancel()
        self._closed(self)

    def data_received(self, data: bytes) -> None:
        """Part of `asyncio.Protocol`."""
        if self._ignoring:
            # Not earlier: uvloop begins to read after `connection_made`, whatever was said there.
            self.transport.pause_reading()
            return
        self._parser.feed(data)
        if self._parser.pending > MAX_HEAD + MAX_BODY:
            self.transport.abort()
        elif self._task is None:
            self._advance()

    def pause_writing(self) -> None:
        """Part of `asyncio.Protocol`: the client reads slower than we write."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Part of `asyncio.Protocol`."""
        self._writable.set()

    def ignore(self) -> None:
        """Accept, and take no notice of what comes."""
        self._ignoring = True

    async def write(self, data: bytes) -> None:
        """Send bytes; returns when the client keeps up. Raises `asyncio.CancelledError` once it has left."""
        if self._left:
            # Said a second time: before Python 3.12, `wait_for` can swallow the first.
            raise asyncio.CancelledError
        self.transport.write(data)
        await self._writable.wait()

    async def reply(self, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
        """Send a whole answer."""
        head = format_head(status, [*headers, ("content-length", str(len(body)))])
        await self.write(head + body)

    def close(self) -> None:
        """Close in order, after what was written."""
        self.transport.close()

    def reset(self) -> None:
        """Drop the connection with an RST; what was not sent yet is lost."""
        linger_zero = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
        self.transport.abort()

    def _advance(self) -> None:
        if self.transport.is_closing():
            return
        try:
            request = self._parser.next()
        except BadRequestError as error:
            self.transport.write(
                format_head(error.status, [("content-length", "0"), ("connection", "close")])
            )
            self.transport.close()
            return
        if request is not None:
            self._stop_idle_timer()
            self._task = asyncio.ensure_future(self._run(request))
        elif self._parser.wants_continue:
            self._parser.wants_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _run(self, request: Request) -> None:
        try:
            await self._serve(request, self)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            self.transport.abort()
        finally:
            self._task = None
        if not request.keep_alive:
            self.close()
        self._wait_for_request()
        self._advance()

    def _wait_for_request(self) -> None:
        if self.idle_secs and not self.transport.is_closing():
            self._idle_timer = asyncio.get_running_loop().call_later(self.idle_secs, self.transport.close)

    def _stop_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
