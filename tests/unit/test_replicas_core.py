"""What the scheduler takes from other routers and gives to them, at the border. The rules are tested in Rust."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from fd_router import _core
from fd_router._core import Request, Scheduler
from rig import core
from rig.core import book

if TYPE_CHECKING:
    from pathlib import Path

LONG = "aaaabbbbccccddddeeeeffffgggghhhhiiiijjjj"


def request(text: str) -> Request:
    return Request.scan(json.dumps({"prompt": text}).encode(), False)


def fleet(policy: str = "least_work", workers: str = "ab", **options: Any) -> Scheduler:
    scheduler = core.scheduler({"mixed": policy}, cache_block_size=4, **options)
    for url in workers:
        scheduler.add(url, "mixed")
    return scheduler


def test_what_one_has_in_hand_counts_for_the_other() -> None:
    one, two = fleet(replica="one"), fleet(replica="two")
    assert one.own_loads() == [("a", 0, 0, 0.0, 0.0), ("b", 0, 0, 0.0, 0.0)]
    lease = book(one, "mixed", request(LONG))
    own = one.own_loads()
    (row,) = (row for row in own if row[1])
    assert row == (lease.url, 1, 80, 10.0, 10.0)
    assert two.tell_foreign("one", own) == 0
    leases = [book(two, "mixed", request(f"{number:04}")) for number in range(1)]
    assert {each.url for each in leases} == {"a", "b"} - {lease.url}
    assert sum(running for _, _, running, _ in two.loads()) == 1
    lease.first_byte()
    assert (lease.url, 1, 0, 0.0, 10.0) in one.own_loads()
    lease.release()
    two.tell_foreign("one", one.own_loads())
    two.tell_foreign("one", [])


@pytest.mark.parametrize(
    "row", [("a",), ("a", -1, 0, 0.0, 0.0), ("a", 1.5, 0, 0.0, 0.0), (1, 1, 1, 1.0, 1.0)]
)
def test_rows_of_another_shape_are_refused(row: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        fleet().tell_foreign("other", [row])


def test_a_recording_with_rows_of_others_plays_again(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    scheduler = fleet("request_num", "abcd", record=(str(path), 1 << 20, 2), replica="one")
    rows = [("a", 2, 0, math.nan, math.inf), ("later", 9, 0, 1.0, 1.0)]
    leases = []
    for number in range(40):
        leases.append(book(scheduler, "mixed", request(f"{number}")))
        scheduler.tell_foreign("two", rows if number % 8 < 6 else [])
        if number == 20:
            scheduler.add("later", "mixed")
    for lease in leases:
        lease.release()
    scheduler.end_recording()
    played = _core.replay(str(path))
    assert (played.decisions, played.same, played.missing) == (40, 40, 0)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["replica"] == "one"
    told = [line for line in lines if line["event"] == "foreign"]
    assert len(told) == 40
    assert told[0]["rows"][0] == ["a", 2, 0, 0.0, float(1 << 40)]
