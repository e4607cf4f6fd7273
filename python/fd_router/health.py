"""Health probes: is the engine behind a url well?"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import httpx

CONCURRENCY = 128
"""Probes at once; more wait their turn, which does not count into their timeout."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The outcome of one probe of `target`, which took `seconds`.

    `error` says why there was no answer; an answer with a status other than 200 has none.
    """

    target: str
    seconds: float
    well: bool
    error: str | None = None


class Prober:
    """Asks `GET <url><endpoint>`; well means status 200 within the timeout, whole body included."""

    def __init__(self, endpoint: str, timeout_secs: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout_secs
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._client = httpx.AsyncClient(
            timeout=None,  # one limit over the whole probe, below
            trust_env=False,
            follow_redirects=True,
            limits=httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=0),
        )

    async def probe(self, url: str) -> Probe:
        """Probe once, on a connection of its own: a kept one would say nothing of the listener."""
        target = url + self._endpoint
        async with self._slots:
            start = time.monotonic()
            well, error = await self._ask(target)
            return Probe(target, time.monotonic() - start, well, error)

    async def _ask(self, target: str) -> tuple[bool, str | None]:
        try:
            answer = await asyncio.wait_for(self._client.get(target), self._timeout)
        except asyncio.TimeoutError:
            return False, f'Get "{target}": no answer within {self._timeout:g} s'
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return False, f'Get "{target}": {str(error) or type(error).__name__}'
        return answer.status_code == 200, None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
