"""The fleet's conduct: who is taken out of choosing, never too many, and back by itself."""

from __future__ import annotations

from typing import Any

import pytest

from fd_router.fleet.conduct import Conduct
from fd_router.fleet.registry import Registry
from fd_router.observe.logs.lasting import Lasting
from fd_router.types import Instance

THRESHOLD = 3


class Head:
    """An answer's head."""

    def __init__(self, status: int, **headers: str) -> None:
        self.status = status
        self.headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]


class Scene:
    """A registry over a scheduler that notes standings, a clock and its timers; and nobody who listens to the log."""

    def __init__(self, workers: int) -> None:
        self.standings: dict[str, str] = {}
        self.cold: list[str] = []
        self.now = 0.0
        self.timers: list[tuple[float, Any]] = []
        self.counts: list[str] = []
        self.lasting = Lasting(lambda _: None)
        everything: Any = self
        self.registry = Registry(everything)
        self.conduct = Conduct(
            THRESHOLD,
            registry=self.registry,
            log=everything,
            metrics=everything,
            clock=lambda: self.now,
            later=lambda secs, call: self.timers.append((self.now + secs, call)),
            chance=lambda: 0.0,
        )
        self.urls = [self.join(number) for number in range(workers)]

    def join(self, number: int) -> str:
        instance = Instance("mixed", "127.0.0.1", 8000 + number)
        self.registry.put(instance)
        self.conduct.joined(instance.url)
        return instance.url

    def fail(self, url: str, times: int = THRESHOLD, kind: str = "reset_before_head") -> None:
        for _ in range(times):
            self.conduct.failed(url, kind)

    def pass_time(self, secs: float) -> None:
        until = self.now + secs
        while due := sorted(
            (entry for entry in self.timers if entry[0] <= until), key=lambda entry: entry[0]
        ):
            self.now = due[0][0]
            self.timers.remove(due[0])
            due[0][1]()
        self.now = until

    # What the parts around it take.

    def add(self, url: str, _role: str) -> None:
        self.standings[url] = "open"

    def remove(self, url: str) -> tuple[int, int]:
        del self.standings[url]
        return 0, 0

    def stand(self, url: str, standing: str) -> None:
        if url in self.standings:
            self.standings[url] = standing

    def forget_prefixes(self, url: str) -> None:
        self.cold.append(url)

    def ejected(self, _worker: str) -> None:
        self.counts.append("ejected")

    def passed_over(self, _worker: str) -> None:
        self.counts.append("passed over")

    def info(self, *_: object) -> None: ...
    def warn(self, *_: object) -> None: ...

    def out(self) -> list[str]:
        return [url for url, standing in self.standings.items() if standing == "ejected"]


@pytest.mark.parametrize(("workers", "most"), [(1, 0), (2, 1), (3, 1), (4, 2), (7, 3), (8, 4)])
def test_never_more_than_half_and_never_the_last(workers: int, most: int) -> None:
    scene = Scene(workers)
    for url in scene.urls:
        scene.fail(url, 3 * THRESHOLD)
    assert len(scene.out()) == most
    assert len(scene.conduct.suspects()) == workers


def test_another_threshold_counts_for_faults_of_before() -> None:
    scene = Scene(2)
    first, second = scene.urls
    scene.fail(first, THRESHOLD - 1)
    scene.conduct.reconfigure(THRESHOLD - 1)
    assert scene.conduct.suspects() == [first]
    scene.fail(first, 1)
    assert scene.out() == [first]
    scene.conduct.reconfigure(0)
    scene.fail(second, 3 * THRESHOLD)
    assert scene.out() == [first], "held for its time, and nobody else is"
    scene.pass_time(1.0)
    assert scene.out() == []


def test_a_trial_of_one_request_and_back() -> None:
    scene = Scene(2)
    first, _ = scene.urls
    scene.fail(first)
    assert scene.out() == [first]
    scene.pass_time(1.0)
    assert scene.out() == []
    scene.conduct.chosen(first)
    assert scene.out() == [first], "one request is enough for a trial"
    scene.conduct.answered(first, Head(200))  # type: ignore[arg-type]
    assert scene.out() == []
    assert scene.conduct.suspects() == []


def test_a_failed_trial_takes_twice_as_long() -> None:
    scene = Scene(2)
    first, _ = scene.urls
    scene.fail(first)
    scene.pass_time(1.0)
    scene.conduct.chosen(first)
    scene.fail(first, 1)
    scene.pass_time(1.9)
    assert scene.out() == [first]
    scene.pass_time(0.2)
    assert scene.out() == []


def test_one_on_trial_still_counts_as_out() -> None:
    scene = Scene(2)
    first, second = scene.urls
    scene.fail(first)
    scene.pass_time(1.0)
    scene.fail(second)
    assert scene.out() == []
    scene.conduct.chosen(first)
    scene.conduct.answered(first, Head(200))  # type: ignore[arg-type]
    scene.fail(second, 1)
    assert scene.out() == [second]


def test_a_longer_wish_is_heard_and_told_once() -> None:
    """Where everybody refuses each request is refused, and each refusal names a later time."""
    scene = Scene(2)
    first, _ = scene.urls
    refusal: Any = Head(503, retry_after="2")
    for _ in range(10):
        scene.conduct.answered(first, refusal)
        scene.pass_time(0.5)
    assert scene.counts == ["passed over"]
    assert len(scene.timers) == 1
    assert scene.standings[first] == "passed_over"
    scene.pass_time(1.4)
    assert scene.standings[first] == "passed_over"
    scene.pass_time(0.2)
    assert scene.standings[first] == "open"
    scene.conduct.answered(first, refusal)
    assert scene.counts == ["passed over"] * 2


def test_500_is_a_fault_and_503_is_not() -> None:
    scene = Scene(4)
    for _ in range(10):
        scene.conduct.answered(scene.urls[0], Head(500))  # type: ignore[arg-type]
        scene.conduct.answered(scene.urls[1], Head(503, retry_after="4"))  # type: ignore[arg-type]
        scene.conduct.answered(scene.urls[2], Head(400))  # type: ignore[arg-type]
    assert [scene.standings[url] for url in scene.urls] == ["ejected", "passed_over", "open", "open"]
    assert scene.counts.count("ejected") == 1
    assert scene.counts.count("passed over") == 1
    scene.pass_time(3.9)
    assert scene.standings[scene.urls[1]] == "passed_over"
    scene.pass_time(0.2)
    assert scene.standings[scene.urls[1]] == "open"


def test_a_good_end_in_between_is_a_new_row() -> None:
    scene = Scene(2)
    for _ in range(10):
        scene.fail(scene.urls[0], THRESHOLD - 1)
        scene.conduct.served(scene.urls[0], 200)
    assert scene.out() == []
    scene.fail(scene.urls[0], THRESHOLD - 1)
    scene.conduct.served(scene.urls[0], 404)
    scene.fail(scene.urls[0], 1)
    assert scene.out() == [scene.urls[0]], "an answer that blames the client says nothing"


def test_a_registration_lifts_no_hold() -> None:
    scene = Scene(2)
    scene.fail(scene.urls[0])
    scene.registry.remove(scene.urls[0])
    scene.join(0)
    assert scene.out() == [scene.urls[0]]


def test_who_leaves_takes_nobody_s_last_worker_along() -> None:
    scene = Scene(4)
    first, second, third, fourth = scene.urls
    scene.fail(first)
    scene.fail(second)
    for url in (third, fourth):
        scene.registry.remove(url)
        scene.conduct.forget(url)
    assert len(scene.out()) == 1


def test_a_refused_connection_means_a_cold_cache() -> None:
    scene = Scene(2)
    scene.fail(scene.urls[0], 1, kind="refused")
    scene.fail(scene.urls[1], 1)
    assert scene.cold == [scene.urls[0]]


def test_what_the_router_gave_up_says_nothing() -> None:
    scene = Scene(2)
    scene.fail(scene.urls[0], 20, kind="cancelled")
    assert scene.out() == []
    assert scene.conduct.suspects() == []


def test_nothing_is_kept_of_a_worker_that_calmed_down() -> None:
    scene = Scene(2)
    scene.fail(scene.urls[0])
    scene.pass_time(1.0)
    scene.conduct.chosen(scene.urls[0])
    scene.conduct.answered(scene.urls[0], Head(200))  # type: ignore[arg-type]
    scene.pass_time(1_000.0)
    scene.conduct.served(scene.urls[0], 200)
    assert scene.conduct._workers == {}


@pytest.mark.parametrize(("status", "ejected"), [(200, True), (404, True), (500, False), (503, False)])
def test_an_answer_that_breaks_off_is_one_fault(status: int, ejected: bool) -> None:
    scene = Scene(4)
    url = scene.urls[0]
    scene.fail(url, THRESHOLD - 1)
    scene.conduct.cut(url, status, "reset_mid_body")
    assert ("ejected" in scene.counts) is ejected


def test_want_of_descriptors_says_nothing_of_a_worker() -> None:
    scene = Scene(4)
    scene.fail(scene.urls[0], kind="exhausted")
    assert scene.standings.get(scene.urls[0], "open") == "open"
