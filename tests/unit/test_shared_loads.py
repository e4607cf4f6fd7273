"""Loads of replicas: what is told, what is heard, and that nothing of it stays for good."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fd_router.state.replica import loads
from fd_router.state.replica.loads import ALL_SECS, SILENT_SECS, OtherLoads, OwnLoads, Row

A, B = "http://10.0.0.1:8000", "http://10.0.0.2:8000"
IDLE: Row = (A, 0, 0, 0.0, 0.0)
BUSY: Row = (A, 2, 2, 10.0, 20.0)


class Scheduler:
    """As much of the extension's as loads meet."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.foreign: dict[str, list[Row]] = {}

    def own_loads(self) -> list[Row]:
        return self.rows

    def tell_foreign(self, origin: str, rows: list[Row]) -> int:
        self.foreign[origin] = rows
        return 0


class Scene:
    def __init__(self) -> None:
        self.now = 0.0
        self.there, self.here = Scheduler(), Scheduler()
        there, here = self.there, self.here
        schedulers: Any = (there, here)
        self.own = OwnLoads(schedulers[0], lambda: self.now)
        self.others = OtherLoads(schedulers[1], lambda: self.now)

    def tell(self, *rows: Row) -> dict[str, Any] | None:
        self.there.rows = list(rows)
        message = self.own.message()
        return None if message is None else orjson.loads(message)

    def hear(self, *rows: Row, whole: bool = True, by: str = "there", age: float = 0.0) -> None:
        self.others.take(by.encode(), orjson.dumps({"all": whole, "rows": rows}), age)


def test_what_changed_is_told_and_everything_once_a_second() -> None:
    scene = Scene()
    told = scene.tell(IDLE, (B, 1, 1, 0.0, 5.0))
    assert told == {"all": True, "rows": [[B, 1, 1, 0.0, 5.0]]}
    assert scene.tell(IDLE, (B, 1, 1, 0.0, 5.0)) is None
    told = scene.tell(BUSY, (B, 1, 1, 0.0, 5.0))
    assert told == {"all": False, "rows": [list(BUSY)]}
    told = scene.tell(IDLE)
    assert told is not None
    assert told["rows"] == [list(IDLE), [B, 0, 0, 0.0, 0.0]], "who left too"
    scene.now = ALL_SECS
    assert scene.tell(IDLE) == {"all": True, "rows": []}, "idle, and alive"


def test_what_is_heard_is_state() -> None:
    scene = Scene()
    scene.hear(BUSY, (B, 1, 1, 0.0, 5.0))
    scene.hear(IDLE, whole=False)
    assert scene.here.foreign == {"there": [(B, 1, 1, 0.0, 5.0)]}
    assert scene.others.running() == {B: 1}
    scene.hear(BUSY)
    assert scene.here.foreign == {"there": [BUSY]}, "a message that was lost is mended by the next with all"


def test_who_is_silent_counts_no_more() -> None:
    scene = Scene()
    scene.hear(BUSY)
    scene.now = SILENT_SECS - 0.1
    scene.others.expire()
    assert [name for name, _ in scene.others.replicas()] == ["there"]
    scene.now = SILENT_SECS
    scene.others.expire()
    assert (scene.here.foreign, scene.others.replicas(), scene.others.running()) == ({"there": []}, [], {})


def test_a_message_counts_from_when_it_was_written() -> None:
    scene = Scene()
    scene.hear(BUSY, age=2.0)
    scene.now = SILENT_SECS - 2.0
    scene.others.expire()
    assert scene.here.foreign == {"there": []}


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"{}", b"[]", b'{"all":true}', b'{"rows":[]}', b'{"all":1,"rows":[]}',
     b'{"all":true,"rows":[[]]}', b'{"all":true,"rows":[["u",1,1,1]]}',
     b'{"all":true,"rows":[["u",-1,0,0,0]]}', b'{"all":true,"rows":[["u",true,0,0,0]]}',
     b'{"all":true,"rows":[["u",1e300,0,0,0]]}', b'{"all":true,"rows":[[1,1,1,1,1]]}',
     b'{"all":true,"rows":[["' + b"u" * 513 + b'",1,1,1,1]]}', b" " * (1 << 20) + b"{}"],
)  # fmt: skip
def test_garbage(data: bytes) -> None:
    scene = Scene()
    scene.others.take(b"there", data, 0.0)
    assert (scene.here.foreign, scene.others.garbage) == ({}, 1)


def test_a_name_that_nobody_has() -> None:
    scene = Scene()
    scene.hear(BUSY, by="a" * 129)
    assert (scene.here.foreign, scene.others.garbage) == ({}, 1)


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loads, "MAX_REPLICAS", 2)
    monkeypatch.setattr(loads, "MAX_ROWS", 2)
    scene = Scene()
    for name in "abcab":
        scene.hear(by=name)
    assert [name for name, _ in scene.others.replicas()] == ["a", "b"]
    scene.hear(BUSY, BUSY, BUSY, by="a")
    assert scene.others.garbage == 2
    for number in range(4):
        scene.hear((f"{A}{number}", 1, 1, 0.0, 0.0), whole=False, by="a")
    assert len(scene.here.foreign["a"]) == 2
