"""A server that says the same whatever it is asked."""

from __future__ import annotations

import asyncio


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
