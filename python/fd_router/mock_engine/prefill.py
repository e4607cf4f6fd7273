"""Computes prompts: so many at once, in order of arrival, each at full speed."""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fd_router.mock_engine.cache import Hold, PrefixCache


class Prefill:
    """Time and cache for prompts."""

    def __init__(self, cache: PrefixCache, block_secs: float, at_once: int) -> None:
        self._cache = cache
        self._block_secs = block_secs
        self._slots = asyncio.Semaphore(at_once)
        self._free = [0.0] * at_once
        """When each slot's last prompt was due: a heap. A wake-up that comes late delays nobody who waits."""
        self._door = asyncio.Lock()
        self._given_back = asyncio.Event()

    async def compute(self, keys: list[int], tokens: int) -> Hold:
        """Compute what is not cached of a prompt; the caller gives the blocks back."""
        clock = asyncio.get_running_loop().time
        since = clock()
        async with self._slots:
            hold, since = await self._admit(keys, tokens, since)
            # A part of a block counts as one.
            blocks = -(-tokens // self._cache.block_size) - hold.found
            due = max(since, heappop(self._free)) + self._block_secs * blocks
            try:
                await asyncio.sleep(due - clock())
            except asyncio.CancelledError:
                due = clock()
                self.give_back(hold)
                raise
            finally:
                heappush(self._free, due)
        self._cache.publish(hold)
        return hold

    def give_back(self, hold: Hold) -> None:
        """Take a request's blocks back."""
        self._cache.release(hold)
        self._given_back.set()

    async def _admit(self, keys: list[int], tokens: int, since: float) -> tuple[Hold, float]:
        """Blocks, and since when: a prompt for which there is no room holds up those behind it."""
        async with self._door:
            while (hold := self._cache.admit(keys, tokens)) is None:
                self._given_back.clear()
                await self._given_back.wait()
                since = asyncio.get_running_loop().time()
            return hold, since
