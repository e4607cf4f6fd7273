"""What engines say of their load, their cache and their start, read from their `/metrics` in the background.

Never inside a decision. Of a cache's size a registration's word counts most, then this, then what answers teach, which
goes on from either.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fd_router import _core
from fd_router.fleet.engine_metrics import parse_cache_tokens, parse_engine_metrics, parse_start
from fd_router.observe.logs import messages
from fd_router.runtime.panic import ENDINGS
from fd_router.upstream.engines import EngineClient, EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fd_router._core import Scheduler
    from fd_router.fleet.registry import Registry
    from fd_router.observe.logs import Log
    from fd_router.types import Instance
    from fd_router.upstream.trust import Trust

CONNECTIONS = 256
"""Workers asked at once; more wait within their limit."""

POLICIES = frozenset(policy.name for policy in _core.POLICIES if policy.reads_remote_load)
"""The policies that decide by engines' own load."""
CACHE_POLICIES = frozenset(policy.name for policy in _core.POLICIES if policy.reads_capacity)
"""The policies that decide by the size of caches. Without one of either kind nobody is asked."""
CACHE_PERIOD = 30.0
"""Seconds between questions where only the size of caches is wanted, which changes with a new start at most; one that
registers is asked at once."""


class RemoteLoad:
    """Asks every worker in rounds and tells the scheduler what its policies decide by.

    A worker that does not answer counts by its local load, and by what is learned of its cache. Each is asked in a task
    of its own, which no other waits for; one that is at it still is not asked again.
    """

    def __init__(
        self,
        registry: Registry,
        scheduler: Scheduler,
        log: Log,
        timeout_secs: float,
        *,
        trust: Trust,
        policies: Iterable[str],
        asks_start: bool = False,
    ) -> None:
        """`policies` are those in use.

        With `asks_start` a new worker is asked whatever they want to know: when its engine started is to be known.
        """
        self._registry = registry
        self._scheduler = scheduler
        self._log = log
        self._client = EngineClient(timeout_secs, connections=CONNECTIONS, trust=trust)
        self._asks_start = asks_start
        self._asking: dict[str, asyncio.Task[None]] = {}
        self.reconfigure(policies, timeout_secs)

    def reconfigure(self, policies: Iterable[str], timeout_secs: float) -> None:
        """Ask what other policies want to know, with another limit."""
        names = set(policies)
        self._reads_load = not POLICIES.isdisjoint(names)
        self._reads_cache = not CACHE_POLICIES.isdisjoint(names)
        self._client.timeout_secs = timeout_secs

    @property
    def _wanted(self) -> bool:
        return self._reads_load or self._reads_cache

    def period(self, interval_secs: float) -> float:
        """Seconds between rounds, for which the operator set `interval_secs`."""
        return interval_secs if self._reads_load else max(interval_secs, CACHE_PERIOD)

    async def round(self, _late: float = 0.0) -> None:
        """Begin to ask everybody who is not being asked."""
        if not self._wanted:
            return
        loop = asyncio.get_running_loop()
        for instance in self._registry.all():
            if instance.url not in self._asking:
                self._asking[instance.url] = loop.create_task(self._ask_alone(instance))

    async def _ask_alone(self, instance: Instance) -> None:
        try:
            await self.ask(instance)
        except ENDINGS:
            raise
        except BaseException as error:
            self._log.error(messages.panic(error))
        finally:
            del self._asking[instance.url]

    async def ask(self, instance: Instance) -> None:
        """Ask one worker, if anything is wanted; a failure is logged, and its figures grow stale by themselves."""
        if not (self._wanted or self._asks_start):
            return
        try:
            answer = await self._client.get(instance.metrics_url)
            answer.require_success()
            text = answer.content.decode("utf-8", "replace")
            self._take_start(instance.url, text)
            self._take_cache(instance, text)
            if self._reads_load:
                load = parse_engine_metrics(text)
                self._scheduler.observe(instance.url, load.running, load.waiting)
            self._log.lasting.over(_missing(instance))
        except (EngineError, ValueError) as error:
            # An engine without metrics is no fault where there is another way to know its cache.
            told = messages.remote_metrics_failed(instance.url, error)
            if not self._reads_load:
                self._log.debug(told)
            elif self._log.lasting.met(_missing(instance)):
                self._log.warn(told)

    def _take_start(self, url: str, text: str) -> None:
        started = parse_start(text)
        if started is not None and self._scheduler.tell_start(url, started):
            self._registry.emptied(url)
            self._log.info(messages.engine_restarted(url))

    def _take_cache(self, instance: Instance, text: str) -> None:
        # It may have registered anew while it was asked.
        known = self._registry.get(instance.url)
        tokens = parse_cache_tokens(text)
        if tokens is not None and known is not None and known.cache_tokens is None:
            self._scheduler.tell_capacity(instance.url, tokens)

    async def close(self) -> None:
        """Give up the questions under way and close the connections."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()


def _missing(instance: Instance) -> str:
    return f"{instance.url} has no metrics to go by"
