"""The instruments: histograms against naive counts, bounds on series, forgotten workers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fd_router.observe.metrics import Family, instruments
from fd_router.observe.metrics.instruments import Buckets, Tally, histogram
from fd_router.observe.metrics.text import number
from fd_router.observe.metrics.worker_tally import RETENTION_SECS, WorkerTally

COUNTER = Family("c_total", "counter", ("worker", "code"), "", "help")
HISTOGRAM = Family("h", "histogram", (), "", "help", bounds=(0.0, 0.5, 1.0))
VALUES = st.lists(st.floats(0, 2))


def counts(tally: Tally) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels.values()): sample.value for sample in tally.collect().samples}


@given(VALUES)
def test_histogram_counts_as_a_naive_one(values: list[float]) -> None:
    buckets = Buckets(HISTOGRAM)
    for value in values:
        buckets.observe(value)
    samples = {(sample.name, sample.labels.get("le")): sample.value for sample in buckets.collect().samples}
    for text, bound in (("0", 0.0), ("0.5", 0.5), ("1", 1.0), ("+Inf", math.inf)):
        assert samples["h_bucket", text] == sum(value <= bound for value in values)
    assert samples["h_count", None] == len(values)
    assert samples["h_sum", None] == pytest.approx(sum(values))


def test_histogram_refuses_counts_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="zip"):
        histogram(HISTOGRAM, HISTOGRAM.bounds, [1, 2, 3], 0.0)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_series_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instruments, "MAX_SERIES", 3)
    tally = Tally(COUNTER)
    for worker in "abcde":
        tally.add(worker, 200)
        tally.add(worker, 200)
    assert counts(tally) == {("a", "200"): 2, ("b", "200"): 2, ("c", "200"): 2, ("other", "other"): 4}


def test_departed_workers_are_forgotten_after_a_while_and_live_ones_never() -> None:
    clock = Clock()
    tally = WorkerTally(COUNTER, workers=1, monotonic=clock)
    for worker in ("live", "gone", ""):
        tally.add(worker, 200)
    tally.add("gone", 500)
    tally.prune({"live"})
    clock.now += RETENTION_SECS - 1
    tally.prune({"live"})
    assert len(counts(tally)) == 4
    clock.now += 1
    tally.prune({"live"})
    assert counts(tally) == {("live", "200"): 1, ("", "200"): 1}


def test_a_worker_that_comes_back_in_time_keeps_its_counts() -> None:
    clock = Clock()
    tally = WorkerTally(COUNTER, workers=1, monotonic=clock)
    tally.add("w", 200)
    for live in (set[str](), {"w"}, set[str]()):
        tally.prune(live)
        clock.now += RETENTION_SECS - 1
        tally.prune(live)
    assert counts(tally) == {("w", "200"): 1}


def test_a_pair_is_forgotten_with_either_of_its_workers() -> None:
    clock = Clock()
    family = Family("c_total", "counter", ("prefill", "decode", "code"), "", "help")
    tally = WorkerTally(family, workers=2, monotonic=clock)
    tally.add("p", "d1", 200)
    tally.add("p", "d2", 200)
    tally.prune({"p", "d1"})
    clock.now += RETENTION_SECS
    tally.prune({"p", "d1"})
    assert counts(tally) == {("p", "d1", "200"): 1}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3.0, "3"),
        (0.25, "0.25"),
        (10**18, "1000000000000000000"),
        (1e300, "1e+300"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_numbers_as_go_prints_them(value: float, text: str) -> None:
    assert number(value) == text
