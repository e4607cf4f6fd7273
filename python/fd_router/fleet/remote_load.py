"""Engines' own load, read from their `/metrics` in the background and never inside a decision."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fd_router import _core
from fd_router.fleet.engine_metrics import parse_engine_metrics
from fd_router.observe.logs import messages
from fd_router.upstream.engines import EngineClient, EngineError

if TYPE_CHECKING:
    from fd_router._core import Scheduler
    from fd_router.fleet.registry import Registry
    from fd_router.observe.logs import Log
    from fd_router.types import Instance

CONNECTIONS = 256
"""Workers asked at once; more wait within their limit."""

POLICIES = frozenset(policy.name for policy in _core.POLICIES if policy.reads_remote_load)
"""The policies that decide by these figures; without one of them nobody is asked."""


class RemoteLoad:
    """Asks every worker in rounds and tells the scheduler. A worker that does not answer counts by its local load.

    Each worker is asked in a task of its own, which no other waits for; one that is at it still is not asked again.
    """

    def __init__(self, registry: Registry, scheduler: Scheduler, log: Log, timeout_secs: float) -> None:
        self._registry = registry
        self._scheduler = scheduler
        self._log = log
        self._client = EngineClient(timeout_secs, connections=CONNECTIONS)
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def round(self, _late: float = 0.0) -> None:
        """Begin to ask everybody who is not being asked."""
        loop = asyncio.get_running_loop()
        for instance in self._registry.all():
            if instance.url not in self._asking:
                self._asking[instance.url] = loop.create_task(self._ask_alone(instance))

    async def _ask_alone(self, instance: Instance) -> None:
        try:
            await self.ask(instance)
        finally:
            del self._asking[instance.url]

    async def ask(self, instance: Instance) -> None:
        """Ask one worker; a failure is logged, and its figures grow stale by themselves."""
        try:
            answer = await self._client.get(instance.metrics_url)
            answer.require_success()
            load = parse_engine_metrics(answer.content.decode("utf-8", "replace"))
        except (EngineError, ValueError) as error:
            self._log.warn(messages.remote_metrics_failed(instance.url, error))
        else:
            self._scheduler.observe(instance.url, load.running, load.waiting)

    async def close(self) -> None:
        """Give up the questions under way and close the connections."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()
