"""Upkeep of what decisions leave behind: the prefix tree's age, the counters of workers that left, the recording."""

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

RECORDING_INTERVAL = 5.0
"""Seconds between two looks at whether the recording is whole."""


class Upkeep:
    """Background rounds over the scheduler."""

    def __init__(self, scheduler: Scheduler, registry: Registry, log: Log) -> None:
        self._scheduler = scheduler
        self._registry = registry
        self._log = log
        self._lost = 0

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

    async def recording(self, _late: float) -> None:
        """Tell of lines that the recording of decisions has lost."""
        _, lost = self._scheduler.recorded()
        if lost > self._lost and self._log.lasting.met("lines of the recording are lost", events=True):
            self._log.warn(messages.recording_lost(lost - self._lost, self._scheduler.recording_error()))
            self._lost = lost
