"""The health monitor: rounds of probes over everybody, and the counters of those who left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fd_router.logs import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router._core import Scheduler
    from fd_router.fleet import Fleet
    from fd_router.health import Prober
    from fd_router.health_state import Trial
    from fd_router.logs import Log
    from fd_router.types import Instance


class Monitor:
    """Probes workers and tells the fleet."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        scheduler: Scheduler,
        prober: Prober,
        log: Log,
        clock: Callable[[], float],
    ) -> None:
        self._fleet = fleet
        self._scheduler = scheduler
        self._prober = prober
        self._log = log
        self._clock = clock

    async def round(self, late: float) -> None:
        """Give every worker its trial, all at once, and act on the verdicts."""
        verdicts = await asyncio.gather(
            *(self._verdict(each.url, self._fleet.trial(each.url, late)) for each in self._fleet.watched())
        )
        now = self._clock()
        for url, served, healthy in verdicts:
            self._fleet.judge(url, healthy, now, served=served)
        if self._log.debug_enabled:
            urls = {
                role: [instance.url for instance in self._fleet.registry.of_role(role)]
                for role in self._fleet.registry.counts()
            }
            self._log.debug(messages.healthy_instances(urls["prefill"], urls["decode"], urls["mixed"]))

    async def _verdict(self, url: str, trial: Trial) -> tuple[str, bool, bool]:
        served = url in self._fleet.registry
        # A worker on probation fails each round; its loss has been logged, once.
        return url, served, await self._prober.verdict(url, trial, quiet=not served)

    async def report(self) -> None:
        """Probe every prefill and decode worker once and log what they say; nobody is removed."""
        registry = self._fleet.registry
        await asyncio.gather(*map(self._report, registry.of_role("prefill") + registry.of_role("decode")))

    async def _report(self, instance: Instance) -> None:
        probe = await self._prober.probe(instance.url)
        if probe.well:
            self._log.info(messages.server_healthy(instance.url))
        else:
            self._log.warn(messages.server_unhealthy(instance.url))

    async def reap(self, _late: float) -> None:
        """Drop the counters of workers that left; those with requests under way stay."""
        if not len(self._fleet.registry):
            return
        removed, preserved = self._scheduler.reap()
        if removed:
            self._log.info(messages.counters_removed(removed))
        if preserved:
            self._log.info(messages.counters_preserved(preserved))
