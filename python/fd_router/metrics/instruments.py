"""Counters, histograms and summaries that cost a fraction of a microsecond to feed.

The client library's own take a lock and several times as long, and add `_created` samples that upstream does not have.
These are fed by the event loop's thread alone and may be read from any: a reader copies before it looks.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import Metric

from fd_router.metrics.pace import paced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fd_router.metrics.families import Family

MAX_SERIES = 16_384
"""Label combinations of one family; what comes after them is counted under `other`."""

OTHER = "other"

WINDOW = 1024
"""Latest observations that a summary's quantiles are taken from."""

WINDOW_SECS = 600.0
"""Age at which an observation leaves the window: the default of Go's client."""

QUANTILES = (0.95, 0.99)


def metric(family: Family) -> Metric:
    """An empty family as the client library models it: a counter's name without `_total`."""
    return Metric(family.name.removesuffix("_total"), family.help, family.kind)


def simple(family: Family, samples: Iterable[tuple[tuple[object, ...], float]]) -> Metric:
    """A counter or gauge with `samples` of (label values, value)."""
    found = metric(family)
    for values, value in paced(samples):
        labels = {label: str(text) for label, text in zip(family.labels, values, strict=True)}
        found.add_sample(family.name, labels, value)
    return found


class Tally:
    """A counter family."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._counts: dict[tuple[object, ...], int] = {(value,): 0 for value in family.values}
        if not family.labels:
            self._counts[()] = 0

    def add(self, *values: object) -> None:
        """Count one under the label values, which are made text when they are read."""
        try:
            self._counts[values] += 1
        except KeyError:
            self._first(values)

    def _first(self, values: tuple[object, ...]) -> None:
        if len(self._counts) >= MAX_SERIES:
            values = (OTHER,) * len(values)
        self._counts[values] = self._counts.get(values, 0) + 1

    def collect(self) -> Metric:
        """The family's present samples."""
        return simple(self._family, list(self._counts.items()))


class Buckets:
    """A histogram without labels."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._bounds = family.bounds
        self._counts = [0] * (len(family.bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count `value`, in the family's unit."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Metric:
        """The family's present samples."""
        return histogram(self._family, self._bounds, list(self._counts), self._sum)


def histogram(family: Family, bounds: Sequence[float], counts: Sequence[int], total: float) -> Metric:
    """A histogram from counts that are not cumulated: one for each bound and one for what is above all."""
    found = metric(family)
    seen = 0
    for bound, count in zip((*bounds, math.inf), counts, strict=True):
        seen += count
        found.add_sample(f"{family.name}_bucket", {"le": "+Inf" if bound == math.inf else f"{bound:g}"}, seen)
    found.add_sample(f"{family.name}_sum", {}, total)
    found.add_sample(f"{family.name}_count", {}, seen)
    return found


class Window:
    """Count, sum and latest observations of one series of a summary."""

    __slots__ = ("count", "latest", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.latest: deque[tuple[float, float]] = deque(maxlen=WINDOW)

    def quantiles(self, oldest: float) -> list[float]:
        """`QUANTILES` of the latest observations made at `oldest` or after; NaN where there is none."""
        values = sorted(value for made, value in list(self.latest) if made >= oldest)
        if not values:
            return [math.nan] * len(QUANTILES)
        return [values[math.ceil(quantile * len(values)) - 1] for quantile in QUANTILES]


class Summary:
    """A summary family with true quantiles over a bounded sliding window."""

    def __init__(self, family: Family, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._family = family
        self._monotonic = monotonic
        self._windows: dict[tuple[str, ...], Window] = {}

    def observe(self, value: float, *values: str) -> None:
        """Count `value`, in the family's unit, under the label values."""
        window = self._windows.get(values)
        if window is None:
            window = self._windows[values] = Window()
        window.count += 1
        window.total += value
        window.latest.append((self._monotonic(), value))

    def collect(self) -> Metric:
        """The family's present samples."""
        name = self._family.name
        found = metric(self._family)
        oldest = self._monotonic() - WINDOW_SECS
        for values, window in list(self._windows.items()):
            labels = dict(zip(self._family.labels, values, strict=True))
            for quantile, value in zip(QUANTILES, window.quantiles(oldest), strict=True):
                found.add_sample(name, {**labels, "quantile": str(quantile)}, value)
            found.add_sample(f"{name}_sum", labels, window.total)
            found.add_sample(f"{name}_count", labels, window.count)
        return found
