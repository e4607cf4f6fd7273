"""The verdict of `bench/compare.py`, without building anything."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))
from compare import Side, build_revision, regressions, table  # noqa: E402

sys.path.remove(str(BENCH))


def side(**least: float) -> Side:
    return Side("side", Path(), least)


def report(name: str, least: float) -> dict[str, list[dict[str, object]]]:
    return {"benchmarks": [{"fullname": name, "stats": {"min": least}}]}


def test_a_regression_is_more_than_15_percent() -> None:
    before = side(same=1.0, within=1.0, over=1.0, faster=1.0, gone=1.0)
    after = side(same=1.0, within=1.14, over=1.16, faster=0.5, new=9.0)
    assert regressions(before, after) == ["over"]


def test_the_least_of_all_rounds_counts() -> None:
    one = side()
    for least in (3.0, 2.0, 4.0):
        one.take(report("bench", least))
    assert one.least == {"bench": 2.0}


def test_the_table_shows_what_one_side_lacks() -> None:
    shown = table(side(both=1e-6, gone=1e-6), side(both=2e-6, new=1e-6)).splitlines()[1:]
    assert [line.split() for line in shown] == [
        ["both", "1.00", "us", "2.00", "us", "2.00"],
        ["gone", "1.00", "us", "-", "-"],
        ["new", "-", "1.00", "us", "-"],
    ]


def test_an_unknown_revision_is_refused() -> None:
    with pytest.raises(Exception, match="rev-parse"):
        build_revision("no-such-revision")
