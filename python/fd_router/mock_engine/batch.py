"""The modelled batch: so many requests run at once, so many wait, and more are turned away."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class QueueFullError(Exception):
    """As many requests wait as may."""


class Job:
    """One request in the engine."""

    __slots__ = ("aborted", "blocks", "request_id")

    def __init__(self, request_id: str, blocks: int) -> None:
        self.request_id = request_id
        self.blocks = blocks
        """KV blocks that it holds while it runs."""
        self.aborted = False


class Batch:
    """Slots for running requests and the queue before them."""

    def __init__(self, size: int, max_queue: int) -> None:
        self._size = size
        self._max_queue = max_queue
        self._slots = asyncio.Semaphore(size)
        self._jobs: set[Job] = set()
        self.waiting = 0
        self.running = 0
        self.peak_running = 0
        self.blocks_in_use = 0

    @asynccontextmanager
    async def slot(self, job: Job) -> AsyncIterator[None]:
        """Wait for a slot and hold it. Raises `QueueFullError`."""
        if self._slots.locked() and self.waiting >= self._max_queue:
            raise QueueFullError(f"{self.running} requests run, {self.waiting} wait")
        self._jobs.add(job)
        try:
            await self._acquire()
            try:
                self.running += 1
                self.peak_running = max(self.peak_running, self.running)
                self.blocks_in_use += job.blocks
                yield
            finally:
                self.running -= 1
                self.blocks_in_use -= job.blocks
                self._slots.release()
        finally:
            self._jobs.discard(job)

    async def _acquire(self) -> None:
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1

    def abort(self, request_ids: set[str] | None) -> set[str]:
        """Make requests stop at their next token, all of them for None; returns the ids found."""
        found = [job for job in self._jobs if request_ids is None or job.request_id in request_ids]
        for job in found:
            job.aborted = True
        return {job.request_id for job in found}
