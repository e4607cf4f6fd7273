"""Carries one answer to the client, and breaks it off where a fault says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fd_router.mock_engine.wire import format_head

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router.mock_engine.faults import Faults
    from fd_router.mock_engine.wire import Connection


class BrokenOffError(Exception):
    """The answer was cut on purpose; the connection is already closed or reset."""


class Delivery:
    """One answer on its way, whole or as a stream of frames; `on_stall` is called when a fault stops it for good."""

    def __init__(
        self,
        connection: Connection,
        faults: Faults,
        headers: list[tuple[str, str]],
        on_stall: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._faults = faults
        self._headers = headers
        self._on_stall = on_stall
        self._frames = 0

    async def before_head(self) -> None:
        """The point before anything is answered."""
        await self._cut_at("before-head")

    async def whole(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Send an answer that is not streamed."""
        faults = self._faults
        stated = ("content-length", str(len(body) + faults.length_off))
        await self._connection.write(format_head(status, [*self._headers, *headers, stated]))
        await self._cut_at("after-head")
        if faults.cut != "never":
            await self._trickle(body[: cut_point(body, faults.cut)])
            await self._cut()
        await self._trickle(body)
        if faults.length_off:
            self._connection.close()

    async def begin(self, headers: list[tuple[str, str]]) -> None:
        """Send the head of a stream."""
        chunked = ("transfer-encoding", "chunked")
        await self._connection.write(format_head(200, [*self._headers, *headers, chunked]))
        await self._cut_at("after-head")

    async def frame(self, data: bytes) -> None:
        """Send one frame, as one chunk unless it trickles."""
        faults = self._faults
        if faults.cut in ("mid-frame", "mid-char") and self._frames >= faults.cut_chunks:
            await self._chunk(data[: cut_point(data, faults.cut)])
            await self._cut()
        await self._chunk(data)
        self._frames += 1
        if self._frames == 1:
            await self._cut_at("first-token")
        if self._frames == faults.cut_chunks:
            await self._cut_at("mid-stream")

    async def end(self) -> None:
        """End a stream."""
        await self._connection.write(b"0\r\n\r\n")

    async def _chunk(self, data: bytes) -> None:
        for piece in self._pieces(data):
            await self._connection.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await self._pause()

    async def _trickle(self, data: bytes) -> None:
        for piece in self._pieces(data):
            await self._connection.write(piece)
            await self._pause()

    def _pieces(self, data: bytes) -> list[bytes]:
        size = self._faults.trickle_bytes or max(1, len(data))
        return [data[start : start + size] for start in range(0, len(data), size)]

    async def _pause(self) -> None:
        if self._faults.trickle_secs:
            await asyncio.sleep(self._faults.trickle_secs)

    async def _cut_at(self, point: str) -> None:
        if self._faults.cut == point:
            await self._cut()

    async def _cut(self) -> None:
        how = self._faults.cut_how
        if how == "stall":
            self._on_stall()
            await asyncio.get_running_loop().create_future()
        elif how == "reset":
            self._connection.reset()
        else:
            self._connection.close()
        raise BrokenOffError(f"{how} at {self._faults.cut}")


def cut_point(data: bytes, cut: str) -> int:
    """Where to cut within a frame or a body: in its first character of several bytes, or in the middle."""
    if cut == "mid-char":
        return next((at + 1 for at, byte in enumerate(data) if byte >= 0xC0), len(data) // 2)
    return len(data) // 2
