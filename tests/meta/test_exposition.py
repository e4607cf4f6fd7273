"""What a scrape is held to: counts never go backwards, gauges may."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from rig.exposition import Metrics

COUNTER = "# TYPE asked_total counter\n"
HISTOGRAM = "# TYPE took histogram\n"
SUMMARY = "# TYPE lasted summary\n"
GAUGE = "# TYPE running gauge\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (COUNTER + "asked_total 2", COUNTER + "asked_total 1"),
        (COUNTER + 'asked_total{worker="a"} 2', COUNTER + 'asked_total{worker="a"} 1'),
        (COUNTER + 'asked_total{worker="a"} 2', COUNTER + 'asked_total{worker="b"} 3'),
        (COUNTER + "asked_total 2", GAUGE + "running 1"),
        (HISTOGRAM + 'took_bucket{le="1"} 2', HISTOGRAM + 'took_bucket{le="1"} 1'),
        (HISTOGRAM + "took_count 2", HISTOGRAM + "took_count 1"),
        (SUMMARY + "lasted_sum 2", SUMMARY + "lasted_sum 1"),
        (HISTOGRAM + "took_sum 0.5", HISTOGRAM + "took_sum 0.4"),
    ],
)
def test_a_count_that_went_backwards_is_seen(before: str, after: str) -> None:
    with pytest.raises(AssertionError, match="was"):
        Metrics.parse(after).assert_follows(Metrics.parse(before))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", COUNTER + "asked_total 1"),
        (COUNTER + "asked_total 1", COUNTER + "asked_total 1"),
        (
            COUNTER + 'asked_total{worker="a"} 1',
            COUNTER + 'asked_total{worker="a"} 2\nasked_total{worker="b"} 0',
        ),
        (GAUGE + "running 2", GAUGE + "running 1"),
        (SUMMARY + 'lasted{quantile="0.5"} 2', SUMMARY + 'lasted{quantile="0.5"} 1'),
    ],
)
def test_what_may_happen_is_let_pass(before: str, after: str) -> None:
    Metrics.parse(after).assert_follows(Metrics.parse(before))


def test_only_workers_are_forgotten() -> None:
    before = Metrics.parse(COUNTER + 'asked_total{worker="http://a:1"} 2\nasked_total{worker=""} 2')
    for after, seen in ((COUNTER + 'asked_total{worker=""} 2', False), (COUNTER, True)):
        with pytest.raises(AssertionError, match="is gone") if seen else nullcontext():
            Metrics.parse(after).assert_follows(before, forgets=True)
