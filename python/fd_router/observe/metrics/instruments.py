"""Counters and histograms that cost a fraction of a microsecond to feed.

The client library's own take a lock and several times as long, and add `_created` samples that upstream does not have.
These are fed by the event loop's thread alone and may be read from any: a reader copies before it looks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from fd_router._core import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fd_router.observe.metrics.families import Family

MAX_SERIES = 16_384
"""Label combinations of one family; what comes after them is counted under `other`."""

OTHER = "other"


def metric(family: Family, samples: Iterable[Sample]) -> Metric:
    """A family as the client library models it: a counter's name without `_total`.

    The samples may be made while they are read, which is once: so there are never all of tens of thousands at a time.
    """
    found = Metric(family.name.removesuffix("_total"), family.help, family.kind)
    found.samples = cast("list[Sample]", samples)
    return found


def simple(family: Family, samples: Iterable[tuple[tuple[object, ...], float]]) -> Metric:
    """A counter or gauge with `samples` of (label values, value)."""

    def made() -> Iterator[Sample]:
        for values, value in samples:
            labels = {label: str(text) for label, text in zip(family.labels, values, strict=True)}
            yield Sample(family.name, labels, value)

    return metric(family, made())


class Tally:
    """A counter family."""

    def __init__(self, family: Family) -> None:
        self._family = family
        nobody = ("",) * (len(family.labels) - 1)
        self._counts: dict[tuple[object, ...], int] = {(*nobody, value): 0 for value in family.values}
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

    def counts(self) -> list[tuple[tuple[object, ...], int]]:
        """(label values, count) of each series. Safe from any thread."""
        return list(self._counts.items())

    def collect(self) -> Metric:
        """The family's present samples."""
        return simple(self._family, self.counts())


class Gauge:
    """A gauge without labels, 0 until it is set."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._value = 0.0

    def set(self, value: float) -> None:
        """Take the present value."""
        self._value = value

    def collect(self) -> Metric:
        """The family's present sample."""
        return simple(self._family, [((), self._value)])


class Buckets:
    """A histogram without labels."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._histogram = Histogram(family.bounds)

    def observe(self, value: float) -> None:
        """Count `value`, in the family's unit."""
        self._histogram.observe(value)

    def collect(self) -> Metric:
        """The family's present samples."""
        counts, total = self._histogram.snapshot()
        return histogram(self._family, self._family.bounds, counts, total)


def histogram(family: Family, bounds: Sequence[float], counts: Sequence[int], total: float) -> Metric:
    """A histogram from counts that are not cumulated: one for each bound and one for what is above all."""
    return metric(family, series(family.name, bounds, {}, counts, total))


def series(
    name: str, bounds: Sequence[float], labels: dict[str, str], counts: Sequence[int], total: float
) -> Iterator[Sample]:
    """One series of a histogram, with counts as of `histogram`."""
    seen = 0
    for bound, count in zip((*bounds, math.inf), counts, strict=True):
        seen += count
        le = "+Inf" if bound == math.inf else f"{bound:g}"
        yield Sample(f"{name}_bucket", {**labels, "le": le}, seen)
    yield Sample(f"{name}_sum", labels, total)
    yield Sample(f"{name}_count", labels, seen)
