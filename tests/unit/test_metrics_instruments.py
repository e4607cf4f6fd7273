"""The instruments: histograms against naive counts, bounds on series, forgotten workers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fd_router.observe.metrics import Family, instruments
from fd_router.observe.metrics.answers import WorkerAnswers
from fd_router.observe.metrics.instruments import Buckets, Tally, histogram
from fd_router.observe.metrics.text import number
from fd_router.observe.metrics.worker_tally import RETENTION_SECS, WorkerBuckets, WorkerTally

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
    assert samples["h_sum", None] == pytest.approx(sum(values), abs=1e-9 * (len(values) + 1)), "kept in 1e-9"


def test_histogram_refuses_counts_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="zip"):
        list(histogram(HISTOGRAM, HISTOGRAM.bounds, [1, 2, 3], 0.0).samples)


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
    tally = WorkerTally(COUNTER, monotonic=clock)
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
    tally = WorkerTally(COUNTER, monotonic=clock)
    tally.add("w", 200)
    for live in (set[str](), {"w"}, set[str]()):
        tally.prune(live)
        clock.now += RETENTION_SECS - 1
        tally.prune(live)
    assert counts(tally) == {("w", "200"): 1}


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


def test_a_histogram_by_worker_forgets_those_that_left() -> None:
    clock = Clock()
    family = Family("h", "histogram", ("worker", "status_class"), "", "help", bounds=(1.0,))
    buckets = WorkerBuckets(family, monotonic=clock)
    for worker in ("live", "gone"):
        buckets.observe((worker, "2xx"), 0.5)
        buckets.observe((worker, "5xx"), 2.0)

    def shown() -> dict[tuple[str, str], float]:
        samples = buckets.collect().samples
        return {
            (sample.labels["worker"], sample.labels["status_class"]): sample.value
            for sample in samples
            if sample.labels.get("le") == "1"
        }

    buckets.prune({"live"})
    assert shown() == {("live", "2xx"): 1, ("live", "5xx"): 0, ("gone", "2xx"): 1, ("gone", "5xx"): 0}
    clock.now += RETENTION_SECS
    buckets.prune({"live"})
    assert shown() == {("live", "2xx"): 1, ("live", "5xx"): 0}


def test_series_of_a_histogram_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instruments, "MAX_SERIES", 2)
    buckets = WorkerBuckets(Family("h", "histogram", ("worker",), "", "help", bounds=(1.0,)))
    for worker in "abcd":
        buckets.observe((worker,), 0.5)
    counted = {s.labels["worker"]: s.value for s in buckets.collect().samples if s.name == "h_count"}
    assert counted == {"a": 1, "b": 1, "other": 2}


@given(st.lists(st.floats(0, 9), min_size=1, max_size=300))
def test_the_latest_times_are_those_that_count(values: list[float]) -> None:
    counted = WorkerAnswers().counted
    for value in values:
        counted.first_byte("w", 200, value)
    last = sorted(values[-128:])
    assert counted.quantiles("w", (0.0, 0.5, 1.0)) == [last[0], last[len(last) // 2], last[-1]]
    assert counted.quantiles("x", (0.5,)) is None
    counted.forget("w")
    assert counted.quantiles("w", (0.5,)) is None


def test_answers_are_bounded_and_forgotten_with_their_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instruments, "MAX_SERIES", 3)
    clock = Clock()
    answers = WorkerAnswers(clock)
    counted = answers.counted
    counted.answered("live", 200)
    counted.answered("live", 200, "gone")
    counted.answered("gone", 404)
    counted.answered("late", 200)
    for worker in ("live", "gone"):
        counted.first_byte(worker, 404, 0.5)
    assert dict(answers.counts()) == {
        ("live", "", "", 200): 1,
        ("", "gone", "live", 200): 1,
        ("gone", "", "", 404): 1,
        ("other", "other", "other", "other"): 1,
    }
    answers.prune({"live"})
    clock.now += RETENTION_SECS
    answers.prune({"live"})
    shown = [sample.labels for sample in answers.ttft().samples if sample.name.endswith("_count")]
    assert shown == [{"worker": "live", "status_class": "4xx"}]
    assert [series for series, _ in answers.counts() if series[-1] != "other"] == [("live", "", "", 200)]
