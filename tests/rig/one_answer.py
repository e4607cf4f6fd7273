"""A server that says the same whatever it is asked."""

from __future__ import annotations

import asyncio
import tracemalloc
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import pytest

from fd_router.config.address import Address
from fd_router.state.replica.wire import Wire, WireError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

FEW = 1 << 17
"""Bytes of an answer, in place of the true limit, which is larger than what a test should send."""


class Server:
    """Answers whatever comes with the same bytes, and keeps the connection."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = [*answers]
        self.heard = b""
        self.writers: list[asyncio.StreamWriter] = []
        self.tasks: list[asyncio.Task[None]] = []

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.tasks.append(asyncio.ensure_future(self(reader, writer)))

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            self.heard += data
            writer.write(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])

    async def stop(self) -> None:
        for writer, task in zip(self.writers, self.tasks, strict=True):
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(
            *self.tasks, *(each.wait_closed() for each in self.writers), return_exceptions=True
        )


@asynccontextmanager
async def connected(server: Server, password: str = "") -> AsyncIterator[Wire]:
    """A connection to a server in the same event loop; both end with it."""
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    wire = Wire(Address("127.0.0.1", port, "", password, 0, tls=False), None)
    try:
        await wire.open()
        yield wire
    finally:
        await wire.close()
        listener.close()
        await server.stop()


@contextmanager
def given_up_as_too_large() -> Iterator[None]:
    """What is asked within has an answer beyond `FEW`, and ends before that is in memory."""
    tracemalloc.start()
    try:
        with pytest.raises(WireError, match="larger than 131072 bytes"):
            yield
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
