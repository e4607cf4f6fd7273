"""Ratios of slices that were neighbours in time, and how sure they are.

The machine changes from minute to minute by more than routers differ. Two slices one after the other meet it much
alike, so what is compared is the median of such pairs' ratios, not the ratio of two medians.
"""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .measure import Slice

DOUBT = 0.05
"""Chance that is left for the true median to lie outside of a spread of six values or more, were all independent."""


@dataclass(frozen=True)
class Spread:
    """A median and the range in which chance alone may have moved it."""

    median: float
    low: float
    high: float

    def leaves_open(self, bar: float) -> bool:
        """Whether the figure may as well lie on the other side of `bar`: what was measured is noise."""
        return self.low <= bar <= self.high

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.low)} to {number(self.high)})"


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value. Of eight or fewer the range is all of them."""
    ordered = sorted(values)
    cut = outermost(len(ordered))
    return Spread(statistics.median(ordered), ordered[cut], ordered[-1 - cut])


def outermost(count: int) -> int:
    """How many of `count` values the range leaves out at either end.

    By the sign test: each value lies above the true median as likely as below, so the chance that all but `n` or fewer
    lie on one side of it is a sum of binomial coefficients.
    """
    cut, chance = 0, 2 * 0.5**count
    while (chance := chance + 2 * math.comb(count, cut + 1) * 0.5**count) <= DOUBT:
        cut += 1
    return cut


def ratios(slices: Iterable[Slice], row: str, router: str, peer: str, metric: str) -> list[float]:
    """`metric` of `router` over that of `peer`, of each two slices that were neighbours.

    Where the peer's figure is not above zero (an added latency that drowns in noise) the ratio is infinite: nothing
    is proved against such a peer.
    """
    measured = (each for each in slices if each.row == row and metric in each.figures)
    found = []
    for one, other in itertools.pairwise(measured):
        figures = {one.router: one.figures[metric], other.router: other.figures[metric]}
        if (one.cycle, one.loop) == (other.cycle, other.loop) and figures.keys() == {router, peer}:
            found.append(figures[router] / figures[peer] if figures[peer] > 0 else math.inf)
    return found


def compare(slices: Iterable[Slice], row: str, router: str, peer: str, metric: str) -> Spread | None:
    """The spread of `ratios`; None when the two were never neighbours."""
    found = ratios(slices, row, router, peer, metric)
    return spread(found) if found else None


def figure(slices: Iterable[Slice], row: str, router: str, metric: str) -> Spread | None:
    """The spread of one router's own figure."""
    found = [
        each.figures[metric]
        for each in slices
        if each.row == row and each.router == router and metric in each.figures
    ]
    return spread(found) if found else None


def number(value: float) -> str:
    """Three digits or so."""
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
