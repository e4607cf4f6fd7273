"""Health probes: is the engine behind a url well?"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fd_router.observe.logs import messages
from fd_router.upstream.engines import EngineClient, EngineError

if TYPE_CHECKING:
    from fd_router.fleet.health import Trial
    from fd_router.observe.logs import Log
    from fd_router.observe.metrics import Metrics

CONCURRENCY = 128
"""Probes at once; more wait their turn, which does not count into their timeout."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The outcome of one probe, which took `seconds`."""

    seconds: float
    well: bool


class Prober:
    """Asks `GET <url><endpoint>`; well means status 200 within the timeout, whole body included.

    Every probe is counted, and one without an answer is logged.
    """

    def __init__(self, endpoint: str, timeout_secs: float, log: Log, metrics: Metrics) -> None:
        self._endpoint = endpoint
        self._log = log
        self._metrics = metrics
        self._slots = asyncio.Semaphore(CONCURRENCY)
        # A connection for each probe: a kept one would say nothing of the listener.
        self._client = EngineClient(
            timeout_secs, connections=CONCURRENCY, keep_alive=False, follow_redirects=True
        )

    async def probe(self, url: str, *, quiet: bool = False) -> Probe:
        """Probe once; `quiet` keeps a failure out of the log."""
        target = url + self._endpoint
        async with self._slots:
            start = time.monotonic()
            well, error = await self._ask(target)
            seconds = time.monotonic() - start
        self._metrics.probe(well)
        if error is not None and not quiet:
            self._log.error(messages.probe_failed(target, error))
        return Probe(seconds, well)

    async def verdict(self, url: str, trial: Trial, *, quiet: bool = False) -> bool:
        """Probe until the trial has its verdict: whether the engine is well."""
        while True:
            probe = await self.probe(url, quiet=quiet)
            verdict = trial.record(probe.well, probe.seconds)
            if verdict is not None:
                return verdict

    async def _ask(self, target: str) -> tuple[bool, str | None]:
        try:
            answer = await self._client.get(target)
        except EngineError as error:
            return False, f'Get "{target}": {error}'
        return answer.status == 200, None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
