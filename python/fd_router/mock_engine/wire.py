"""HTTP/1.1 from the server's side, with every byte and every close in the caller's hands.

A web framework would hide what faults are made of: a head without a body, half a frame, a reset, a reply that
says one length and has another. A connection here serves one request at a time and gives the caller `write`,
`close` and `reset`; when the client leaves, the task that serves it is cancelled.

By hand, not by h11, which was tried: when h11 read the requests, a whole one-token answer cost 96 us of CPU instead
of 60 and a connection got a quarter fewer of them a second; 128 us and 40 % when it framed the answers too. On that
side it also refuses what faults are made of: a length that is off, a body under 304, lengths that contradict.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import traceback
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from fd_router.mock_engine.request import MAX_BODY, MAX_HEAD, BadRequestError, Parser

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fd_router.mock_engine.request import Request


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
