"""One worker's conduct, on a clock of the test's own: each row of the state table, and what must hold after any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fd_router.fleet.ejection import (
    CALM_SECS,
    EJECTED_SECS,
    JITTER,
    PASSED_OVER_SECS,
    RETRY_AFTER_SECS,
    WorkerConduct,
)

THRESHOLD = 5


def failing(count: int = THRESHOLD, *, spare: bool = True, now: float = 0.0) -> WorkerConduct:
    worker = WorkerConduct(THRESHOLD)
    for _ in range(count):
        worker.fault(now, spare=spare, chance=0.0)
    return worker


def ejections(worker: WorkerConduct, rounds: int, now: float = 0.0) -> list[float]:
    """The lengths of ejections of a worker that fails every trial at once."""
    lengths = []
    for _ in range(rounds):
        while worker.standing == "open":
            worker.fault(now, spare=True, chance=0.0)
        lengths.append(worker.until - now)
        now = worker.until
        worker.due()
        worker.chosen()
        worker.fault(now, spare=True, chance=0.0)
    return lengths


def test_one_fault_less_than_the_threshold_is_nothing() -> None:
    worker = failing(THRESHOLD - 1)
    assert (worker.standing, worker.suspect) == ("open", False)
    worker.served()
    assert worker.faults == 0
    assert failing().standing == "ejected"


def test_a_fleet_that_cannot_spare_it_keeps_a_suspect() -> None:
    worker = failing(spare=False)
    assert (worker.standing, worker.suspect) == ("open", True)
    assert worker.fault(0.0, spare=True, chance=0.0), "the next fault ejects it, once somebody else is back"


def test_a_threshold_of_0_ejects_nobody() -> None:
    worker = WorkerConduct(0)
    assert not any(worker.fault(0.0, spare=True, chance=0.0) for _ in range(100))
    assert (worker.standing, worker.suspect) == ("open", False)


def test_ejections_double_up_to_a_limit() -> None:
    assert ejections(failing(), 8) == [1.0, 2.0, 4.0, 8.0, 16.0, EJECTED_SECS, EJECTED_SECS, EJECTED_SECS]


def test_jitter_only_makes_longer() -> None:
    worker = WorkerConduct(1)
    worker.fault(0.0, spare=True, chance=1.0)
    assert worker.until == 1.0 + JITTER


def test_calm_is_forgiven_a_doubling_at_a_time() -> None:
    worker = failing()
    ejections(worker, 4)
    now = worker.until
    worker.due()
    worker.chosen()
    assert worker.answered()
    now += 2 * CALM_SECS + 1
    for _ in range(THRESHOLD):
        worker.fault(now, spare=True, chance=0.0)
    assert worker.until - now == 8.0, "after 1, 2, 4, 8, 16 two doublings are undone"


def test_a_trial_is_one_request() -> None:
    worker = failing()
    worker.due()
    assert (worker.standing, worker.on_trial(), worker.out) == ("open", True, True)
    worker.chosen()
    assert (worker.standing, worker.on_trial()) == ("ejected", False)
    assert worker.answered()
    assert (worker.standing, worker.faults, worker.out) == ("open", 0, False)
    assert not worker.answered(), "told once"


def test_a_trial_that_was_given_up_is_for_the_next_request() -> None:
    worker = failing()
    worker.due()
    worker.chosen()
    assert worker.given_up()
    assert (worker.standing, worker.on_trial()) == ("open", True)


def test_a_trial_that_is_refused_ends_in_passing_over() -> None:
    worker = failing()
    worker.due()
    worker.chosen()
    assert worker.pressure(1.0, None)
    assert (worker.standing, worker.until, worker.out) == ("passed_over", 2.0, False)


def test_stragglers_from_before_the_ejection_change_nothing() -> None:
    worker = failing()
    until = worker.until
    assert not worker.fault(0.5, spare=True, chance=0.0)
    assert not worker.pressure(0.5, 9.0)
    assert not worker.answered()
    assert not worker.given_up()
    assert (worker.standing, worker.until) == ("ejected", until)


def test_passing_over_doubles_up_to_a_limit() -> None:
    worker, now, lengths = WorkerConduct(THRESHOLD), 0.0, []
    for _ in range(6):
        assert worker.pressure(now, None)
        lengths.append(worker.until - now)
        now = worker.until
        worker.due()
        assert (worker.standing, worker.on_trial()) == ("open", False)
    assert lengths == [1.0, 2.0, 4.0, 8.0, PASSED_OVER_SECS, PASSED_OVER_SECS]


@pytest.mark.parametrize(
    ("asked", "expected"), [(0.0, 1.0), (0.9, 1.0), (1.0, 1.0), (3.0, 3.0), (86_400.0, RETRY_AFTER_SECS)]
)
def test_a_worker_says_for_how_long_within_reason(asked: float, expected: float) -> None:
    worker = WorkerConduct(THRESHOLD)
    assert worker.pressure(7.0, asked)
    assert worker.until == 7.0 + expected


def test_a_worker_that_asks_for_no_time_is_held_longer_each_time() -> None:
    worker = WorkerConduct(THRESHOLD)
    assert worker.pressure(0.0, 0.0)
    worker.due()
    assert worker.pressure(1.0, 0.0)
    assert worker.until == 3.0


def test_while_everybody_refuses_a_refusal_is_not_counted_again() -> None:
    worker = WorkerConduct(THRESHOLD)
    worker.pressure(0.0, None)
    assert not any(worker.pressure(0.1, None) for _ in range(50))
    assert worker.until == 1.0
    assert not worker.pressure(0.2, 5.0)
    assert worker.until == 5.2, "a longer wish is heard"


def test_pressure_is_no_fault() -> None:
    worker = failing(THRESHOLD - 1)
    worker.pressure(0.0, None)
    worker.due()
    assert not worker.fault(2.0, spare=True, chance=0.0)


EVENTS = st.sampled_from(["fault", "spared", "pressure", "served", "answered", "chosen", "given_up", "due"])


@given(st.lists(st.tuples(EVENTS, st.floats(0, 100)), max_size=60))
def test_whatever_happens(events: list[tuple[str, float]]) -> None:
    """A hold always ends, a worker that serves is never held for it, and only a failing one is a suspect."""
    worker, now = WorkerConduct(THRESHOLD), 0.0
    for event, passed in events:
        now += passed
        if worker.standing != "open" and now >= worker.until and not worker._trying:
            worker.due()
        match event:
            case "fault" | "spared":
                worker.fault(now, spare=event == "spared", chance=0.5)
            case "pressure":
                worker.pressure(now, None)
            case "served":
                worker.served()
                assert not worker.suspect
            case "answered":
                worker.answered()
            case "chosen":
                if worker.on_trial():
                    worker.chosen()
            case "given_up":
                worker.given_up()
            case "due":
                pass
        assert worker.until <= now + EJECTED_SECS * (1 + JITTER)
        assert worker.standing in ("open", "passed_over", "ejected")
        assert not worker.clean(now) or (worker.standing == "open" and worker.faults == 0)
