"""What is accepted of a request's body, and the clock that runs while one is read."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

LATE_SECS = 1.0
"""By how much a timer may fire late. Beyond it the process stood still, and what came meanwhile may wait in the socket:
both limits begin anew."""


class BodyLimits(NamedTuple):
    """Bytes in all, seconds between two pieces, seconds in all; 0 seconds are no limit."""

    size: int
    gap: float
    total: float


class BodyClock:
    """Calls `expire` once with the reason if the body takes too long. Runs from its making, in the running loop."""

    def __init__(self, limits: BodyLimits, expire: Callable[[str], None]) -> None:
        self._limits = limits
        self._expire = expire
        self._loop = asyncio.get_running_loop()
        self._begun = self._moved = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    def moved(self) -> None:
        """A piece has come."""
        self._moved = self._loop.time()

    def stop(self) -> None:
        """The body is read, or given up."""
        if self._timer is not None:
            self._timer.cancel()

    def _due(self) -> tuple[float, str]:
        _, gap, total = self._limits
        piece = self._moved + gap if gap else math.inf
        whole = self._begun + total if total else math.inf
        if whole < piece:
            return whole, f"body not complete after {total:g} s"
        return piece, f"no byte of the body for {gap:g} s"

    def _wait(self) -> None:
        due, _ = self._due()
        if due < math.inf:
            self._timer = self._loop.call_at(due, self._look, due)

    def _look(self, planned: float) -> None:
        """One timer for all pieces: it was set before those came that moved the hour on."""
        now = self._loop.time()
        if now - planned > LATE_SECS:
            self._begun = self._moved = now
        due, why = self._due()
        if now < due:
            self._wait()
        else:
            self._expire(why)
