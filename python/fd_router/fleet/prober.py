"""Health probes: is the engine behind a url well?"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from fd_router._core import UpstreamError
from fd_router.fleet.last_probes import Probe
from fd_router.fleet.outcome import CANCELLED
from fd_router.observe.logs import messages
from fd_router.runtime.patience import Patience

if TYPE_CHECKING:
    from fd_router.fleet.health import Trial
    from fd_router.fleet.last_probes import LastProbes
    from fd_router.observe.logs import Log
    from fd_router.upstream.relay import Upstream

CONCURRENCY = 512
"""Probes of one prober at once; more wait their turn, which does not count into their timeout."""
SILENT = frozenset({"cancelled", "connect_timeout", "first_byte_timeout"})
"""Kinds of failure that a busy engine has as well as a dead one; our own limit cancels."""


class Prober:
    """Asks `GET <url><endpoint>`; well means status 200 within the timeout. A redirection is not followed.

    The whole body is read, up to what the relay collects of an answer. Every probe is noted, and one without an
    answer is logged, the first and one every five minutes. Who must not wait for others has a prober of its own.
    """

    def __init__(
        self, endpoint: str, timeout_secs: float, upstream: Upstream, log: Log, last: LastProbes
    ) -> None:
        self.reconfigure(endpoint, timeout_secs)
        self._upstream = upstream
        self._log = log
        self._last = last
        self._slots = asyncio.Semaphore(CONCURRENCY)

    def reconfigure(self, endpoint: str, timeout_secs: float) -> None:
        """Ask something else, or wait for another time."""
        self._endpoint = endpoint
        self._timeout = timeout_secs

    async def probe(self, url: str, *, quiet: bool = False) -> Probe:
        """Probe once; `quiet` keeps a failure out of the log."""
        async with self._slots:
            probe = await self._ask(url + self._endpoint)
        self._last.note(url, probe)
        silent = f"{url} does not answer probes"
        if not probe.kind:
            self._log.lasting.over(silent)
        elif not quiet and self._log.lasting.met(silent):
            self._log.error(messages.probe_failed(url + self._endpoint, probe.why))
        return probe

    async def verdict(self, url: str, trial: Trial, *, quiet: bool = False) -> tuple[bool, Probe]:
        """Probe until the trial has its verdict: whether the engine is well. Returns the last probe with it."""
        while True:
            probe = await self.probe(url, quiet=quiet)
            verdict = trial.record(probe.well, probe.seconds)
            if verdict is not None:
                return verdict, probe

    async def _ask(self, target: str) -> Probe:
        start = time.monotonic()
        exchange = self._upstream.ask(target)
        limit = Patience(self._timeout, exchange.cancel)
        try:
            head = await exchange.head()
        except UpstreamError as error:
            why = str(error) if error.kind != CANCELLED else f"no answer within {self._timeout:g} s"
            return Probe(time.monotonic() - start, False, kind=error.kind, why=f'Get "{target}": {why}')
        finally:
            limit.cancel()
            exchange.cancel()
        return Probe(time.monotonic() - start, head.status == 200, head.status)
