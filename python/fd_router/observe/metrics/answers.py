"""Answers and the times to their first bytes, by worker: fed by leases, forgotten with the workers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fd_router._core import Answers
from fd_router.observe.metrics import families, instruments
from fd_router.observe.metrics.instruments import OTHER, metric, series, simple
from fd_router.observe.metrics.worker_tally import Departed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.metrics_core import Metric
    from prometheus_client.samples import Sample

    Series = tuple[str, str, str, int | str]
    """The worker of a single answer, those of a pair's, and the status."""


class WorkerAnswers:
    """Two families of one table. `counted` is what leases feed; it may be read from any thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.counted = Answers(families.TTFT.bounds, instruments.MAX_SERIES)
        self._departed = Departed(monotonic)

    def prune(self, live: set[str]) -> None:
        """As `WorkerTally.prune`."""
        gone = self._departed.gone(self.counted.workers(), live)
        if gone:
            self.counted.remove(gone)

    def counts(self) -> Iterator[tuple[Series, int]]:
        """What was answered so far."""
        for worker, prefill, status, count in self.counted.rows():
            if worker is None:
                yield (OTHER, OTHER, OTHER, OTHER), count
            elif prefill is None:
                yield (worker, "", "", status), count
            else:
                yield ("", prefill, worker, status), count

    def inference(self) -> Metric:
        """Answers by worker."""
        return simple(families.INFERENCE_REQUESTS, self.counts())

    def ttft(self) -> Metric:
        """Times to first byte."""
        return metric(families.TTFT, self._times())

    def _times(self) -> Iterator[Sample]:
        family = families.TTFT
        for worker, digit, buckets, total in self.counted.times():
            values = (OTHER, OTHER) if worker is None else (worker, f"{digit}xx")
            labels = dict(zip(family.labels, values, strict=True))
            yield from series(family.name, family.bounds, labels, buckets, total)
