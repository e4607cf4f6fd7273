"""The health monitor: rounds of probes over everybody."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from fd_router.fleet.outcome import EXHAUSTED, REFUSED
from fd_router.fleet.prober import SILENT
from fd_router.observe.logs import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router.fleet.health import Trial
    from fd_router.fleet.membership import Membership
    from fd_router.fleet.prober import Prober
    from fd_router.observe.logs import Log
    from fd_router.types import Instance
    from fd_router.upstream.relay import Upstream


class Monitor:
    """Probes workers and tells the fleet."""

    def __init__(
        self,
        members: Membership,
        *,
        prober: Prober,
        upstream: Upstream,
        log: Log,
        clock: Callable[[], float],
    ) -> None:
        self._members = members
        self._prober = prober
        self._upstream = upstream
        self._log = log
        self._clock = clock

    async def round(self, late: float) -> None:
        """Give every worker its trial, all at once, and act on the verdicts; a trial that fails spoils no other."""
        if late > self._members.rules.interval_secs:
            self._members.skip(late)
        verdicts = await asyncio.gather(
            *(
                self._verdict(each.url, self._members.trial(each.url, late))
                for each in self._members.watched()
            ),
            return_exceptions=True,
        )
        now = self._clock()
        for verdict in verdicts:
            if isinstance(verdict, BaseException):
                self._log.error(messages.panic(verdict))
                continue
            if verdict is None:
                continue
            url, served, healthy = verdict
            self._members.judge(url, healthy, now, served=served)
        if self._log.debug_enabled:
            urls = {
                role: [instance.url for instance in self._members.registry.of_role(role)]
                for role in self._members.registry.counts()
            }
            self._log.debug(messages.healthy_instances(urls["prefill"], urls["decode"], urls["mixed"]))

    async def _verdict(self, url: str, trial: Trial) -> tuple[str, bool, bool] | None:
        """The url, whether it is in service, and whether it is well; None where that cannot be told."""
        served = url in self._members.registry
        start = time.monotonic()
        # A worker on probation fails each round; its loss has been logged, once.
        well, probe = await self._prober.verdict(url, trial, quiet=not served)
        if probe.kind == EXHAUSTED:
            return None
        if probe.kind == REFUSED:
            self._members.registry.refused(url)
        if not well and served and probe.kind in SILENT:
            # An engine may be too busy for its probe; it is not dead while its answers move.
            heard = self._upstream.heard(url)
            well = heard is not None and heard < time.monotonic() - start
        return url, served, well

    async def report(self) -> None:
        """Probe every prefill and decode worker once and log what they say; nobody is removed."""
        registry = self._members.registry
        await asyncio.gather(*map(self._report, registry.of_role("prefill") + registry.of_role("decode")))

    async def _report(self, instance: Instance) -> None:
        probe = await self._prober.probe(instance.url)
        if probe.well:
            self._log.info(messages.server_healthy(instance.url))
        else:
            self._log.warn(messages.server_unhealthy(instance.url))
