"""Conditions that last: what is told of them, and when."""

from __future__ import annotations

import asyncio
import re

import pytest

from fd_router.observe.logs.lasting import AGAIN_SECS, MAX_KEPT, QUIET_SECS, Lasting


class Scene:
    """Conditions on a clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ends: list[str] = []
        self.lasting = Lasting(self.ends.append, lambda: self.now)

    def told(self, what: str, secs: float, every: float = 1.0, *, events: bool = False) -> list[float]:
        """When it is told of, in seconds, by one who meets it so often."""
        begun, times = self.now, []
        while self.now - begun <= secs:
            if self.lasting.met(what, events=events):
                times.append(self.now - begun)
            self.now += every
        return times


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_it_is_told_once_and_again_every_five_minutes(scene: Scene) -> None:
    assert AGAIN_SECS == 300.0
    assert scene.told("a", 900.0) == [0.0, 300.0, 600.0, 900.0]
    assert scene.told("b", 10.0) == [0.0], "another one"


def test_its_end_is_told_once(scene: Scene) -> None:
    scene.lasting.over("a")
    assert scene.ends == []
    assert scene.told("a", 9.0) == [0.0]
    scene.lasting.over("a")
    scene.lasting.over("a")
    assert scene.ends == ["[fd-router] over: a; it lasted 10.0 s, and was met 10 times"]
    assert scene.told("a", 9.0) == [0.0], "it is a new one"


def test_another_cause_is_told_at_once_and_is_the_same_condition(scene: Scene) -> None:
    assert [scene.lasting.met("a", cause=cause) for cause in "xxyyx"] == [True, False, True, False, True]
    scene.now += AGAIN_SECS
    assert scene.lasting.met("a", cause="x")
    scene.lasting.over("a")
    assert scene.ends == ["[fd-router] over: a; it lasted 300.0 s, and was met 6 times"]


def test_what_nobody_sees_ending_is_over_when_it_was_quiet(scene: Scene) -> None:
    assert scene.told("a", 4.0, events=True) == [0.0]
    assert scene.told("seen", 4.0) == [0.0]
    scene.now += QUIET_SECS - 7.0
    asyncio.run(scene.lasting.round(0.0))
    assert scene.ends == []
    scene.now += 10.0
    asyncio.run(scene.lasting.round(0.0))
    assert scene.ends == ["[fd-router] over: a; it lasted 4.0 s, and was met 5 times"]


def test_what_is_known_is_bounded(scene: Scene) -> None:
    for number in range(MAX_KEPT + 1):
        assert scene.lasting.met(f"{number}")
    assert not scene.lasting.met("1")
    assert scene.lasting.met("0"), "it was forgotten"
    assert not [line for line in scene.ends if re.search("over", line)]
