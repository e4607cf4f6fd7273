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


def test_loads_in_bytes(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    one = fleet(replica="one")
    two = fleet(replica="two", record=(str(path), 1 << 20, 2))
    lease = book(one, "mixed", request(LONG))
    message = one.take_loads(True)
    assert message is not None
    assert one.take_loads(False) is None
    assert two.apply_loads("one", message)
    assert two.running_elsewhere() == [(lease.url, 1)]
    assert not two.apply_loads("one", message[:-1])
    assert book(two, "mixed", request("b")).url != lease.url
    lease.release()
    assert two.apply_loads("one", one.take_loads(False) or b"")
    assert two.running_elsewhere() == []
    two.end_recording()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    told = [line["rows"] for line in lines if line["event"] == "foreign"]
    assert told == [[[lease.url, 1, 80, 10.0, 10.0]], []]


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


def told(scheduler: Scheduler, max_bytes: int = 1 << 16) -> list[bytes]:
    return list(iter(lambda: scheduler.take_recorded(max_bytes) or b"", b""))


def heard(scheduler: Scheduler, batches: list[bytes]) -> tuple[int, int, int]:
    counts = [scheduler.apply_recorded(batch) for batch in batches]
    applied, unknown, bad = (sum(column) for column in zip(*counts, strict=True))
    return applied, unknown, bad


def test_a_prefix_learned_by_one_is_used_by_another() -> None:
    one, two = fleet(replica="one"), fleet(replica="two")
    assert one.take_recorded(99) is None
    one.share(1 << 20)
    lease = book(one, "mixed", request(LONG))
    assert one.sharing() == (1, 0)
    assert heard(two, told(one)) == (1, 0, 0)
    assert two.tree().blocks == 10
    assert book(two, "mixed", request(LONG + "more")).url == lease.url
    assert two.sharing() == (0, 0)
    one.share(0)
    book(one, "mixed", request(LONG))
    assert told(one) == []


def test_a_limit_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="limit_bytes is 1000: 0 or at least 1048576 is accepted"):
        fleet().share(1000)


@pytest.mark.parametrize("data", [b"", b"fdp1", b"fdp1\x04\0\0\0\x09", b"\xff" * 1000])
def test_bytes_that_are_no_batch_are_counted(data: bytes) -> None:
    scheduler = fleet()
    scheduler.share(1 << 20)
    assert scheduler.apply_recorded(data) == (0, 0, 1)


def test_a_recording_with_prefixes_of_others_plays_again(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    one = fleet("least_work", "abcd", replica="one")
    one.share(1 << 20)
    two = fleet("least_work", "abcd", record=(str(path), 1 << 20, 2), replica="two")
    two.share(1 << 20)
    for number in range(60):
        prompt = f"{number % 7}{LONG * (1 + number % 5)}{number:03}"
        lease = book(one, "mixed", request(prompt))
        if number % 10 != 9:
            lease.answered()
        lease.release()
        if number == 30:
            one.forget_prefixes("a")
        assert heard(two, told(one))[1:] == (0, 0)
        lease = book(two, "mixed", request(prompt + "more"))
        lease.answered()
        lease.release()
    two.end_recording()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    events = [line["event"] for line in lines]
    assert (events.count("heard"), events.count("unheard"), events.count("forgotten")) == (60, 6, 1)
    assert any(line.get("predicted_blocks") for line in lines)
    played = _core.replay(str(path))
    assert (played.decisions, played.same_predictions, played.missing) == (60, 60, 0)
