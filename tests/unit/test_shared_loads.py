"""Loads of replicas: what is told, what is heard, and that nothing of it stays for good."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from fd_router._core import Request
from fd_router.state.replica import loads
from fd_router.state.replica.loads import ALL_SECS, SILENT_SECS, OtherLoads, OwnLoads
from rig import core
from rig.cluster import loads_message

if TYPE_CHECKING:
    from fd_router._core import Lease

A, B = "http://10.0.0.1:8000", "http://10.0.0.2:8000"
BUSY = (A, 2, 2, 10.0, 20.0)


class Scene:
    """A replica that is there, and one that is here and has heard of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.there, self.here = (core.scheduler({"mixed": "request_num"}) for _ in range(2))
        for scheduler in (self.there, self.here):
            scheduler.add(A, "mixed")
            scheduler.add(B, "mixed")
        self.own = OwnLoads(self.there, lambda: self.now)
        self.others = OtherLoads(self.here, lambda: self.now)

    def book(self, url: str) -> Lease:
        request = Request.scan(json.dumps({"prompt": url}).encode(), False)
        return core.book(self.there, "mixed", request, exclude=[each for each in (A, B) if each != url])

    def tell(self) -> bool:
        """Whether there was anything to be told."""
        message = self.own.message()
        if message is not None:
            self.others.take(b"there", message, 0.0)
        return message is not None

    def hear(
        self,
        *rows: tuple[str, int, int, float, float],
        by: str = "there",
        age: float = 0.0,
        whole: bool = True,
    ) -> None:
        self.others.take(by.encode(), loads_message(*rows, whole=whole), age)


def test_what_changed_is_told_and_everything_once_a_second() -> None:
    scene = Scene()
    lease = scene.book(B)
    assert scene.tell()
    assert scene.others.running() == {B: 1}
    assert not scene.tell()
    more = scene.book(A)
    assert scene.tell()
    assert scene.others.running() == {A: 1, B: 1}
    lease.release()
    assert scene.tell()
    assert scene.others.running() == {A: 1}
    scene.now = ALL_SECS - 0.01
    assert not scene.tell()
    scene.now = ALL_SECS
    assert scene.tell()
    more.release()
    assert scene.tell()
    scene.now = 2 * ALL_SECS
    assert scene.tell(), "idle, and alive"
    assert scene.others.running() == {}
    scene.own.forget_told()
    assert scene.tell()


def test_what_is_heard_is_state() -> None:
    scene = Scene()
    scene.hear(BUSY, (B, 1, 1, 0.0, 5.0))
    scene.hear((A, 0, 0, 0.0, 0.0), whole=False)
    assert scene.others.running() == {B: 1}
    scene.hear(BUSY)
    assert scene.others.running() == {A: 2}, "a message that was lost is mended by the next with all"
    scene.hear(BUSY, by="another")
    assert scene.others.running() == {A: 4}


def test_who_is_silent_counts_no_more() -> None:
    scene = Scene()
    scene.hear(BUSY)
    scene.now = SILENT_SECS - 0.1
    scene.others.expire()
    assert [name for name, _ in scene.others.replicas()] == ["there"]
    scene.now = SILENT_SECS
    scene.others.expire()
    assert (scene.others.replicas(), scene.others.running()) == ([], {})


def test_a_message_counts_from_when_it_was_written() -> None:
    scene = Scene()
    scene.hear(BUSY, age=2.0)
    scene.now = SILENT_SECS - 2.0
    scene.others.expire()
    assert (scene.others.replicas(), scene.others.running()) == ([], {})


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"{}", b"fdl1", b"fdl1\x02", loads_message(BUSY)[:-1], loads_message((A, 1 << 53, 0, 0, 0)),
     loads_message((A, 1, 0, -1, 0)), loads_message((A, 1, 0, 0, 1e300)),
     loads_message(("u" * 513, 1, 1, 1, 1)), b" " * (1 << 20) + b"{}"],
)  # fmt: skip
def test_garbage(data: bytes) -> None:
    scene = Scene()
    scene.others.take(b"there", data, 0.0)
    assert (scene.others.running(), scene.others.replicas(), scene.others.garbage) == ({}, [], 1)


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loads, "MAX_REPLICAS", 2)
    scene = Scene()
    for name in ("a", "b", "c", "a", "b", "x" * 129):
        scene.hear(BUSY, by=name)
    assert [name for name, _ in scene.others.replicas()] == ["a", "b"]
    assert scene.others.garbage == 2
    assert scene.others.running() == {A: 4}
