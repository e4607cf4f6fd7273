"""Upkeep of what decisions leave behind: the prefix tree's age, and the counters of workers that left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fd_router.observe.logs import messages

if TYPE_CHECKING:
    from fd_router._core import Scheduler
    from fd_router.fleet.registry import Registry
    from fd_router.observe.logs import Log

EXPIRE_INTERVAL = 1.0
"""Seconds between two rounds of ageing the prefix tree."""
EXPIRE_STEPS = 100
"""Steps of one round at the most; the core bounds each to less than a millisecond."""


class Upkeep:
    """Background rounds over the scheduler."""

    def __init__(self, scheduler: Scheduler, registry: Registry, log: Log) -> None:
        self._scheduler = scheduler
        self._registry = registry
        self._log = log

    async def expire(self, _late: float) -> None:
        """Drop blocks that are too old from the prefix tree."""
        dropped, more = self._scheduler.expire()
        for _ in range(EXPIRE_STEPS):
            if not more:
                break
            await asyncio.sleep(0)  # requests come between two steps
            blocks, more = self._scheduler.expire()
            dropped += blocks
        if dropped and self._log.debug_enabled:
            self._log.debug(messages.tree_evicted(dropped, self._scheduler.tree().nodes))

    async def reap(self, _late: float) -> None:
        """Drop the counters of workers that left; those with requests under way stay."""
        if not len(self._registry):
            return
        removed, preserved = self._scheduler.reap()
        if removed:
            self._log.info(messages.counters_removed(removed))
        if preserved:
            self._log.info(messages.counters_preserved(preserved))
