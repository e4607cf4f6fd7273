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
        self.own = OwnLoads("there", schedulers[0], lambda: self.now)
        self.others = OtherLoads("here", schedulers[1], lambda: self.now)

    def tell(self, *rows: Row) -> dict[str, Any] | None:
        self.there.rows = list(rows)
        message = self.own.message()
        return None if message is None else orjson.loads(message)

    def hear(self, *rows: Row, whole: bool = True, by: str = "there") -> bool:
        return self.others.take(orjson.dumps({"by": by, "all": whole, "rows": rows}))


def test_what_changed_is_told_and_everything_once_a_second() -> None:
    scene = Scene()
    told = scene.tell(IDLE, (B, 1, 1, 0.0, 5.0))
    assert told == {"by": "there", "all": True, "rows": [[B, 1, 1, 0.0, 5.0]]}
    assert scene.tell(IDLE, (B, 1, 1, 0.0, 5.0)) is None
    told = scene.tell(BUSY, (B, 1, 1, 0.0, 5.0))
    assert told == {"by": "there", "all": False, "rows": [list(BUSY)]}
    told = scene.tell(IDLE)
    assert told is not None
    assert told["rows"] == [list(IDLE), [B, 0, 0, 0.0, 0.0]], "who left too"
    scene.now = ALL_SECS
    assert scene.tell(IDLE) == {"by": "there", "all": True, "rows": []}, "idle, and alive"


def test_what_is_heard_is_state() -> None:
    scene = Scene()
    assert scene.hear(BUSY, (B, 1, 1, 0.0, 5.0))
    assert scene.hear(IDLE, whole=False)
    assert scene.here.foreign == {"there": [(B, 1, 1, 0.0, 5.0)]}
    assert scene.others.running() == {B: 1}
    assert scene.hear(BUSY), "a message that was lost is mended by the next with all"
    assert scene.here.foreign == {"there": [BUSY]}


def test_who_is_silent_counts_no_more() -> None:
    scene = Scene()
    scene.hear(BUSY)
    scene.now = SILENT_SECS - 0.1
    scene.others.expire()
    assert [name for name, _ in scene.others.replicas()] == ["there"]
    scene.now = SILENT_SECS
    scene.others.expire()
    assert (scene.here.foreign, scene.others.replicas(), scene.others.running()) == ({"there": []}, [], {})


def test_its_own_are_not_heard() -> None:
    scene = Scene()
    assert not scene.hear(BUSY, by="here")
    assert (scene.here.foreign, scene.others.garbage) == ({}, 0)


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"{}", b"[]", b'{"by":"a","all":true}', b'{"by":1,"all":true,"rows":[]}', None, 7,
     b'{"by":"a","all":1,"rows":[]}', b'{"by":"a","all":true,"rows":[[]]}',
     b'{"by":"a","all":true,"rows":[["u",1,1,1]]}',
     b'{"by":"a","all":true,"rows":[["u",-1,0,0,0]]}', b'{"by":"a","all":true,"rows":[["u",true,0,0,0]]}',
     b'{"by":"a","all":true,"rows":[["u",1e300,0,0,0]]}', b'{"by":"a","all":true,"rows":[[1,1,1,1,1]]}',
     b'{"by":"a","all":true,"rows":[["' + b"u" * 513 + b'",1,1,1,1]]}',
     b'{"by":"' + b"a" * 200 + b'","all":true,"rows":[]}', b" " * (1 << 20) + b"{}"],
)  # fmt: skip
def test_garbage(data: object) -> None:
    scene = Scene()
    assert not scene.others.take(data)
    assert (scene.here.foreign, scene.others.garbage) == ({}, 1)


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loads, "MAX_REPLICAS", 2)
    monkeypatch.setattr(loads, "MAX_ROWS", 2)
    scene = Scene()
    assert [scene.hear(by=name) for name in "abcab"] == [True, True, False, True, True]
    assert not scene.hear(BUSY, BUSY, BUSY, by="a")
    for number in range(4):
        scene.hear((f"{A}{number}", 1, 1, 0.0, 0.0), whole=False, by="a")
    assert len(scene.here.foreign["a"]) == 2
