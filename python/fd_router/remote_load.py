"""Engines' own load, read from their `/metrics` in the background and never inside a decision."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx

from fd_router.engine_metrics import parse_engine_metrics
from fd_router.logs import messages

if TYPE_CHECKING:
    from fd_router._core import Scheduler
    from fd_router.logs import Log
    from fd_router.registry import Registry
    from fd_router.types import Instance

CONCURRENCY = 64
"""Workers asked at once."""

POLICIES = frozenset({"fd_remote_metrics_score", "remote_cache_aware"})
"""The policies that decide by these figures; without one of them nobody is asked."""


class RemoteLoad:
    """Asks every worker in rounds and tells the scheduler. A worker that does not answer counts by its local load."""

    def __init__(self, registry: Registry, scheduler: Scheduler, log: Log, timeout_secs: float) -> None:
        self._registry = registry
        self._scheduler = scheduler
        self._log = log
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._client = httpx.AsyncClient(
            timeout=timeout_secs, trust_env=False, limits=httpx.Limits(max_connections=CONCURRENCY)
        )

    async def round(self, _late: float = 0.0) -> None:
        """Ask everybody once, concurrently."""
        await asyncio.gather(*(self.ask(instance) for instance in self._registry.all()))

    async def ask(self, instance: Instance) -> None:
        """Ask one worker; a failure is logged, and its figures grow stale by themselves."""
        async with self._slots:
            try:
                answer = await self._client.get(instance.metrics_url)
                answer.raise_for_status()
                load = parse_engine_metrics(answer.text)
            except (httpx.HTTPError, ValueError) as error:
                reason = str(error) or type(error).__name__
                self._log.warn(messages.remote_metrics_failed(instance.url, reason))
            else:
                self._scheduler.observe(instance.url, load.running, load.waiting)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
