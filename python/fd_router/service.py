"""The composition root: builds everything that lives in the router's process, and ends it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from fd_router import memory
from fd_router._core import AccessLog, Scheduler
from fd_router.admission import Admission
from fd_router.app import App
from fd_router.dispatch import Dispatch
from fd_router.engine_api import EngineApi
from fd_router.fanout import Aborts, Models
from fd_router.fleet import Fleet
from fd_router.health import Prober
from fd_router.logs import Log, messages
from fd_router.metrics import ENDPOINTS, METHODS, Metrics
from fd_router.monitor import Monitor
from fd_router.pd import PairDispatch
from fd_router.periodic import Periodic
from fd_router.registry import Registry
from fd_router.remote_load import POLICIES as REMOTE_POLICIES
from fd_router.remote_load import RemoteLoad
from fd_router.selection import Selector
from fd_router.stats import Stats
from fd_router.tokenizer import Tokenizer
from fd_router.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from fd_router.config import Config, Notice
    from fd_router.types import Role

EXPIRE_INTERVAL = 1.0
"""Seconds between two rounds of ageing the prefix tree."""
EXPIRE_STEPS = 100
"""Steps of one round at the most; the core bounds each to less than a millisecond."""


class Service:
    """Everything that lives in the worker process, in the order of its building."""

    def __init__(self, config: Config, notices: Sequence[Notice]) -> None:
        self._config = config
        self.log = log = _log(config)
        for notice in notices:
            (log.warn if notice.level == "WARN" else log.error)(messages.config_notice(notice.message))
        policies = _policies(config)
        self._scheduler = scheduler = _scheduler(config, policies, log)
        self._metrics = metrics = Metrics()
        self._upstream = upstream = Upstream(config)
        access = AccessLog(log.journal, METHODS, ENDPOINTS)
        metrics.bind(scheduler, access, upstream.relay, log)
        self._registry = registry = Registry(scheduler)
        manager, settings = config.manager, config.scheduler
        self._prober = Prober(manager.health_check_endpoint, manager.health_check_timeout_secs, log, metrics)
        self._api = EngineApi(manager.health_check_timeout_secs)
        self._tokenizer = (
            Tokenizer(settings.tokenizer_url, settings.tokenizer_timeout_secs)
            if settings.tokenizer_url
            else None
        )
        self._remote_load = (
            RemoteLoad(registry, scheduler, log, manager.health_check_timeout_secs)
            if REMOTE_POLICIES & set(policies.values())
            else None
        )
        clock = time.monotonic
        fleet = Fleet(config, registry, log, metrics)
        self._monitor = Monitor(fleet, scheduler=scheduler, prober=self._prober, log=log, clock=clock)
        self._admission = Admission(
            fleet, self._prober, self._remote_load, log, clock, splitwise=config.server.splitwise
        )
        selector = Selector(scheduler, policies, self._tokenizer, log)
        self.app = App(
            config,
            fleet=fleet,
            admission=self._admission,
            monitor=self._monitor,
            dispatch=Dispatch(selector, upstream, log, metrics, config.upstream.attempts),
            pairs=self._pairs(selector) if config.server.splitwise else None,
            models=Models(registry, self._api, clock),
            aborts=Aborts(registry, self._api),
            log=log,
            metrics=metrics,
            access=access,
        )
        self._rounds = self._background()

    def _pairs(self, selector: Selector) -> PairDispatch:
        return PairDispatch(
            selector,
            self._registry,
            self._upstream,
            self.log,
            self._metrics,
            expose_worker_urls=self._config.server.expose_worker_urls,
        )

    def _background(self) -> list[Periodic]:
        manager, settings = self._config.manager, self._config.scheduler
        stats = Stats(self._scheduler, self.log)
        rounds: list[tuple[float, Callable[[float], Awaitable[None]]]] = [
            (manager.health_check_interval_secs, self._monitor.round),
            (settings.eviction_interval_secs, self._monitor.reap),
            (settings.stats_interval_secs, stats.round),
            (EXPIRE_INTERVAL, self._expire),
        ]
        if self._remote_load is not None:
            rounds.append((manager.metrics_interval_secs, self._remote_load.round))
        return [Periodic(interval, action, self._round_failed) for interval, action in rounds]

    async def _expire(self, _late: float) -> None:
        dropped = step = self._scheduler.expire()
        for _ in range(EXPIRE_STEPS):
            if not step:
                break
            await asyncio.sleep(0)  # requests come between two steps
            step = self._scheduler.expire()
            dropped += step
        if dropped and self.log.debug_enabled:
            self.log.debug(messages.tree_evicted(dropped, self._scheduler.tree().nodes))

    def _round_failed(self, error: Exception) -> None:
        self.log.error(messages.panic(error))

    async def start(self) -> None:
        """Register the static instances, then begin the background rounds."""
        if self._config.manager.register_path:
            await self._admission.register_static(self._config.manager.register_path)
        for periodic in self._rounds:
            periodic.start()
        self.log.info(messages.starting(self._config.server.port))
        memory.settle()

    async def stop(self) -> None:
        """End the background, the exchanges under way and, last, the log."""
        for periodic in self._rounds:
            await periodic.stop()
        for client in (self._prober, self._api, self._tokenizer, self._remote_load):
            if client is not None:
                await client.close()
        self._upstream.close()
        self.log.close()


def _log(config: Config) -> Log:
    settings = config.log
    return Log(
        settings.level,
        settings.output,
        "json" if settings.format == "json" else "text",
        max_age_days=settings.max_age_days,
        max_total_size_mb=settings.max_total_size_mb,
        cleanup_interval_secs=settings.cleanup_interval_secs,
    )


def _policies(config: Config) -> dict[Role, str]:
    settings = config.scheduler
    if config.server.splitwise:
        return {"prefill": settings.prefill_policy, "decode": settings.decode_policy}
    return {"mixed": settings.policy}


def _scheduler(config: Config, policies: dict[Role, str], log: Log) -> Scheduler:
    settings = config.scheduler
    return Scheduler(
        policies=policies,
        block_size=settings.cache_block_size,
        cache_max_bytes=settings.cache_max_memory_mb << 20,
        eviction_secs=settings.eviction_duration_mins * 60,
        balance_abs_threshold=settings.balance_abs_threshold,
        balance_rel_threshold=settings.balance_rel_threshold,
        hit_ratio_weight=settings.hit_ratio_weight,
        load_balance_weight=settings.load_balance_weight,
        waiting_weight=settings.waiting_weight,
        metrics_max_age_secs=3 * config.manager.metrics_interval_secs,
        seed=time.time_ns(),
        journal=log.journal,
    )
