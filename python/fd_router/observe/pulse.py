"""What goes through the router in a second: the rates of `/status`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROUND_SECS = 5.0
"""Between two samples."""
SAMPLES = 13
"""Kept; rates are those of the last minute, or of the time since the start."""


class Pulse:
    """Samples of totals that only grow."""

    def __init__(self, totals: Callable[[], tuple[int, ...]], clock: Callable[[], float]) -> None:
        self._totals = totals
        self._clock = clock
        self._samples: deque[tuple[float, tuple[int, ...]]] = deque(maxlen=SAMPLES)
        self._take()

    async def round(self, _late: float) -> None:
        """Take a sample."""
        self._take()

    def _take(self) -> None:
        self._samples.append((self._clock(), self._totals()))

    def rates(self, totals: tuple[int, ...]) -> list[float]:
        """Each total's growth in a second, up to the present `totals`."""
        then, before = self._samples[0]
        secs = max(self._clock() - then, 0.001)
        return [round((now - was) / secs, 3) for now, was in zip(totals, before, strict=True)]
