"""Verdicts, probation and the damping of flapping workers, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fd_router.fleet.health import CALM_SECS, GRACE_SECS, HealthRules, Trial, WorkerHealth

TIMEOUT = 5.0
INTERVAL = 4.0
FORGET = 300.0


def rules(failures: int = 1, successes: int = 1, forget: float = FORGET) -> HealthRules:
    return HealthRules(failures, successes, TIMEOUT, INTERVAL, forget)


def outcome(trial: Trial, probes: Sequence[bool], took: float = 0.1) -> tuple[bool | None, int]:
    """The verdict and the number of probes that it took; no verdict if they ran out."""
    for count, success in enumerate(probes, 1):
        verdict = trial.record(success, took)
        if verdict is not None:
            return verdict, count
    return None, len(probes)


@pytest.mark.parametrize(
    ("threshold", "probes", "expected"),
    [
        (1, [True], (True, 1)),
        (1, [False], (False, 1)),
        (3, [False, False, True], (True, 3)),
        (3, [False, False, False], (False, 3)),
        (3, [False, False], (None, 2)),
    ],
)
def test_case_40_one_success_within_the_tries_keeps_a_worker(
    threshold: int, probes: list[bool], expected: tuple[bool | None, int]
) -> None:
    assert outcome(rules(failures=threshold).keeping(), probes) == expected


@pytest.mark.parametrize(
    ("threshold", "probes", "expected"),
    [
        (1, [True], (True, 1)),
        (2, [True, True], (True, 2)),
        (2, [True, False], (False, 2)),
        (2, [False], (False, 1)),
        (2, [True], (None, 1)),
    ],
)
def test_case_33_a_new_worker_needs_successes_in_a_row(
    threshold: int, probes: list[bool], expected: tuple[bool | None, int]
) -> None:
    assert outcome(rules(failures=5, successes=threshold).admitting(), probes) == expected


@given(st.integers(1, 5), st.integers(1, 5), st.lists(st.booleans(), min_size=12, max_size=12), st.booleans())
def test_every_trial_ends(failures: int, successes: int, probes: list[bool], late: bool) -> None:
    table = rules(failures, successes)
    for trial in (table.keeping(INTERVAL * 2 if late else 0.0), table.admitting()):
        verdict, count = outcome(trial, probes, took=TIMEOUT * 10)
        assert verdict is not None
        assert count <= failures + successes + 1


@pytest.mark.parametrize(
    ("late", "verdict"), [(0.0, False), (INTERVAL, False), (INTERVAL + 0.1, None), (30.0, None)]
)
def test_a_late_round_wants_a_second_probe_before_it_loses_a_worker(
    late: float, verdict: bool | None
) -> None:
    assert rules().keeping(late).record(False, 0.1) is verdict


def test_a_late_round_loses_a_worker_that_fails_the_second_probe_too() -> None:
    assert outcome(rules().keeping(30.0), [False, False]) == (False, 2)
    assert outcome(rules().keeping(30.0), [False, True]) == (True, 2)


@pytest.mark.parametrize(
    ("took", "expected"), [(TIMEOUT, (False, 1)), (TIMEOUT + GRACE_SECS, (False, 1)), (30.0, (False, 2))]
)
def test_a_probe_far_over_its_timeout_is_repeated_once(took: float, expected: tuple[bool, int]) -> None:
    assert outcome(rules().keeping(), [False, False, False], took) == expected


def lost(table: HealthRules, now: float = 0.0) -> WorkerHealth:
    health = WorkerHealth(table, now)
    assert health.judge(False, now) == "lost"
    return health


def test_a_healthy_worker_stays() -> None:
    health = WorkerHealth(rules(), 0.0)
    assert [health.judge(True, now) for now in (0.0, 5.0, 10.0)] == ["none"] * 3
    assert health.serving


def test_a_lost_worker_is_out_at_once_and_back_with_the_next_good_round() -> None:
    health = lost(rules(), 10.0)
    assert not health.serving
    assert health.judge(False, 15.0) == "none"
    assert health.judge(True, 20.0) == "back"
    assert health.serving


def test_a_lost_worker_is_tried_like_a_new_one() -> None:
    health = lost(rules(failures=3, successes=2))
    assert outcome(health.trial(), [True, False]) == (False, 2)
    health.readmit(1.0)
    assert outcome(health.trial(), [False, True]) == (True, 2)


def test_a_worker_that_stays_away_is_forgotten() -> None:
    health = lost(rules(), 10.0)
    assert health.judge(False, 10.0 + FORGET - 0.1) == "none"
    assert health.judge(False, 10.0 + FORGET) == "forgotten"


def test_without_probation_a_lost_worker_is_lost_first_and_never_held() -> None:
    health = lost(rules(forget=0.0), 1.0)
    assert health.held(1.0) == 0.0
    assert health.judge(False, 1.0) == "forgotten"


def holds(table: HealthRules, served: float, flips: int) -> list[float]:
    """The time between each loss and the return, of a worker that is well again at once and fails after `served`."""
    health, now, found = WorkerHealth(table, 0.0), 0.0, []
    for _ in range(flips):
        now += served
        assert health.judge(False, now) == "lost"
        found.append(health.held(now))
        if health.held(now):
            assert health.judge(True, now + health.held(now) / 2) == "none"
        now += health.held(now)
        assert health.judge(True, now) == "back"
    return found


def test_the_hold_doubles_with_each_flip_up_to_the_cap() -> None:
    assert holds(rules(), served=2.0, flips=10) == [0, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_calm_service_undoes_the_doubling() -> None:
    assert holds(rules(), served=CALM_SECS, flips=4) == [0, 0, 0, 0]
    health, now = WorkerHealth(rules(), 0.0), 0.0
    for _ in range(4):
        health.judge(False, now)
        now += health.held(now)
        health.judge(True, now)
    now += 2 * CALM_SECS
    health.judge(False, now)
    assert health.held(now) == 8.0


def test_a_held_worker_whose_probes_succeed_is_not_forgotten() -> None:
    table = rules()
    health, now = WorkerHealth(table, 0.0), 0.0
    for _ in range(12):
        health.lose(now)
        now += health.held(now)
        health.readmit(now)
    health.lose(now)
    back = now + FORGET
    while now < back - INTERVAL:
        now += INTERVAL
        assert health.judge(True, now) == "none"
    assert health.judge(False, back) == "none"
    assert health.judge(True, back + INTERVAL) == "back"


def test_a_registration_brings_a_worker_back_and_the_flips_still_count() -> None:
    health = lost(rules())
    health.readmit(1.0)
    assert health.serving
    health.lose(2.0)
    assert health.held(2.0) == INTERVAL


def test_readmitting_a_serving_worker_changes_nothing() -> None:
    health = lost(rules())
    health.readmit(0.0)
    for now in range(int(CALM_SECS) + 1):
        health.readmit(float(now))
    health.lose(CALM_SECS)
    assert not health.held(CALM_SECS)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 120.0)), max_size=60))
def test_the_standing_follows_the_changes(rounds: list[tuple[bool, float]]) -> None:
    health, now, serving = WorkerHealth(rules(), 0.0), 0.0, True
    for healthy, step in rounds:
        now += step
        change = health.judge(healthy, now)
        assert change in ({"none", "lost"} if serving else {"none", "back", "forgotten"})
        assert (change == "lost") == (serving and not healthy)
        serving = (serving and change != "lost") or change == "back"
        assert health.serving is serving
        assert health.held(now) <= FORGET
        if change == "forgotten":
            break
