"""Counters and histograms whose labels name workers, and which forget those that left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fd_router._core import Histogram
from fd_router.observe.metrics import instruments
from fd_router.observe.metrics.instruments import OTHER, Tally, metric, series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.metrics_core import Metric
    from prometheus_client.samples import Sample

    from fd_router.observe.metrics.families import Family

RETENTION_SECS = 900.0
"""How long the series of a worker that left are still shown: long enough for any scraper to see its last count."""


class Departed:
    """Who left, and since when."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._missed: dict[str, float] = {}

    def gone(self, named: set[str], live: set[str]) -> set[str]:
        """Those of `named` that have been out of `live` for `RETENTION_SECS`."""
        now = self._monotonic()
        self._missed = {url: self._missed.get(url, now) for url in named - live}
        return {url for url, since in self._missed.items() if now - since >= RETENTION_SECS}


class WorkerTally(Tally):
    """A counter family whose first label is a worker's url, or empty.

    A live worker's series only ever grow. Without a scrape nothing is forgotten, and the bound on series holds.
    """

    def __init__(self, family: Family, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(family)
        self._departed = Departed(monotonic)

    def prune(self, live: set[str]) -> None:
        """Forget workers that have been out of `live` for `RETENTION_SECS`. One caller at a time."""
        keys = list(self._counts)
        gone = self._departed.gone({str(key[0]) for key in keys if key[0]}, live)
        if not gone:
            return
        for key in keys:
            if key[0] in gone:
                self._counts.pop(key, None)


class WorkerBuckets:
    """A histogram family whose first label is a worker's url. Series are bounded as those of a `Tally`."""

    def __init__(self, family: Family, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._family = family
        self._series: dict[tuple[str, ...], Histogram] = {}
        self._departed = Departed(monotonic)

    def observe(self, values: tuple[str, ...], value: float) -> None:
        """Count `value`, in the family's unit, under the label values."""
        try:
            self._series[values].observe(value)
        except KeyError:
            self._first(values).observe(value)

    def _first(self, values: tuple[str, ...]) -> Histogram:
        if len(self._series) >= instruments.MAX_SERIES:
            values = (OTHER,) * len(values)
        return self._series.setdefault(values, Histogram(self._family.bounds))

    def prune(self, live: set[str]) -> None:
        """As `WorkerTally.prune`."""
        keys = list(self._series)
        gone = self._departed.gone({key[0] for key in keys}, live)
        for key in keys:
            if key[0] in gone:
                self._series.pop(key, None)

    def collect(self) -> Metric:
        """The family's present samples."""
        return metric(self._family, self._samples())

    def _samples(self) -> Iterator[Sample]:
        family = self._family
        for values, buckets in list(self._series.items()):
            labels = dict(zip(family.labels, values, strict=True))
            yield from series(family.name, family.bounds, labels, *buckets.snapshot())
