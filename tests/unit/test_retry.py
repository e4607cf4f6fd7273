"""The rule for sending again, over fleets that are described and errors that are made up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from fd_router._core import UpstreamError
from fd_router.routing.attempt import Failure, LegError
from fd_router.routing.retry import BURST, EARNED_BY_SECOND, Retries, RetryBudget, Tries


@dataclass
class Fleet:
    """Who is open, passed over and a suspect; as scheduler, conduct and metrics in one."""

    fresh: list[str]
    passed_over: list[str] = field(default_factory=list)
    suspected: list[str] = field(default_factory=list)
    retried: int = 0
    denied: list[str] = field(default_factory=list)

    def left(self, _role: str, exclude: list[str], _model: str) -> tuple[int, int]:
        return len(set(self.fresh) - set(exclude)), len(set(self.passed_over) - set(exclude))

    def suspects(self) -> list[str]:
        return self.suspected

    def retry(self, _worker: str) -> None:
        self.retried += 1

    def retry_denied(self, reason: str) -> None:
        self.denied.append(reason)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def failed(kind: str = "refused", *, received: bool = False) -> UpstreamError:
    error = UpstreamError(kind)
    error.kind, error.received = kind, received
    return error


def lost(
    url: str = "a", error: UpstreamError | None = None, status: int = 0, role: Any = "mixed"
) -> LegError:
    if error is None:
        return LegError(role, url, Failure(status, [], b""))
    return LegError(role, url, Failure.of_error(error), begun=error.received)


def tries(
    fleet: Fleet, *, attempts: int = 3, stream: bool = True, budget: RetryBudget | None = None
) -> Tries:
    parts: Any = fleet
    retries = Retries(
        parts, parts, budget or RetryBudget(Clock()), parts, statuses=frozenset({429, 503, 304})
    )
    request: Any = SimpleNamespace(model="m", stream=stream, lost=lambda _: None)
    return Tries(retries, attempts, parts, request, lambda *_: None)


@pytest.mark.parametrize(
    ("error", "stream", "again"),
    [
        (failed("refused"), True, True),
        (failed("reset_before_head"), False, True),
        (failed("connect_timeout"), False, True),
        (failed("tls"), False, True),
        (failed("first_byte_timeout"), True, True),
        (failed("first_byte_timeout"), False, False),
        (failed("reset_mid_body", received=True), False, False),
        (failed("reset_before_head", received=True), True, False),
        (failed("bad_response", received=True), True, False),
        (failed("idle_timeout", received=True), True, False),
        (failed("cancelled"), True, False),
        (failed("closed"), True, False),
    ],
    ids=lambda value: getattr(value, "kind", str(value)),
)
def test_only_what_nobody_works_on_is_sent_again(error: UpstreamError, stream: bool, again: bool) -> None:
    assert tries(Fleet(["a", "b"]), stream=stream).grant(lost(error=error)) is again


@pytest.mark.parametrize(
    ("role", "also", "again"), [("prefill", None, True), ("decode", "p", True), ("decode", None, False)]
)
def test_a_pair_that_is_silent_for_its_prefill_is_not_at_work(
    role: Any, also: str | None, again: bool
) -> None:
    silent = LegError(role, "a", Failure.of_error(failed("first_byte_timeout")), also=also)
    assert tries(Fleet(["a", "b"]), stream=False).grant(silent) is again


@pytest.mark.parametrize(
    ("role", "status", "again"),
    [
        ("mixed", 503, True),
        ("mixed", 429, True),
        ("mixed", 304, True),
        ("mixed", 500, False),
        ("mixed", 400, False),
        ("decode", 500, True),
        ("prefill", 503, True),
        ("prefill", 400, False),
    ],
)
def test_refusals(role: str, status: int, again: bool) -> None:
    assert tries(Fleet(["a", "b"])).grant(lost(status=status, role=role)) is again


def test_the_next_worker_is_another_and_no_suspect() -> None:
    fleet = Fleet(["a", "b", "c"], suspected=["b"])
    attempt = tries(fleet)
    assert attempt.grant(lost("a", failed()))
    assert sorted(attempt.failed) == ["a", "b"]


def test_a_decode_that_waits_for_a_lost_prefill_is_avoided_and_no_reason_not_to_send_again() -> None:
    attempt = tries(Fleet(["p", "q", "d"]))
    assert attempt.grant(LegError("prefill", "p", Failure.of_error(failed()), waits="d"))
    assert sorted(attempt.failed) == ["d", "p"]
    # Where it is the only one, and then fails itself, it is asked again as any other.
    assert tries(Fleet(["d"])).grant(LegError("decode", "d", Failure.of_error(failed())))


def test_a_fleet_that_fails_as_a_whole_is_asked_once() -> None:
    fleet = Fleet(["a", "b"], suspected=["a", "b"])
    assert not tries(fleet).grant(lost("a", failed()))
    assert fleet.denied == ["no_candidate"]


def test_a_single_worker_is_asked_again_unless_it_fails_all_the_time() -> None:
    assert tries(Fleet(["a"])).grant(lost("a", failed()))
    assert not tries(Fleet(["a"], suspected=["a"])).grant(lost("a", failed()))


def test_a_refusal_goes_only_to_somebody_who_does_not_refuse() -> None:
    assert not tries(Fleet(["a"])).grant(lost(status=503))
    assert not tries(Fleet([], passed_over=["a", "b"])).grant(lost(status=503))
    assert not tries(Fleet(["a"], passed_over=["b"])).grant(lost(status=503))
    assert tries(Fleet(["b"], passed_over=["a"])).grant(lost(status=503))


def test_a_broken_connection_may_go_to_one_that_is_passed_over() -> None:
    assert tries(Fleet(["a"], passed_over=["b"])).grant(lost("a", failed()))


def test_attempts_are_counted_over_all_workers() -> None:
    fleet = Fleet(["a", "b", "c", "d"])
    urls = iter("abcd")
    attempt = tries(fleet, attempts=3)

    async def fails(*_: object) -> None:
        raise lost(next(urls), failed())

    with pytest.raises(LegError) as raised:
        asyncio.run(attempt.run(fails, None))
    assert (raised.value.url, attempt.number, fleet.retried) == ("c", 3, 2)


def test_an_answer_that_is_passed_on_is_followed_by_another_attempt() -> None:
    fleet = Fleet(["a", "b"])
    attempt = tries(fleet)
    served = []

    async def refuses_once(*_: object) -> None:
        if attempt.number == 1:
            attempt.pass_on(lost("a", status=503))
        served.append(attempt.number)

    asyncio.run(attempt.run(refuses_once, None))
    assert (served, fleet.retried) == ([2], 1)


def test_the_budget_is_a_burst_then_a_fifth_of_the_requests_and_three_a_second() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    assert sum(budget.spend() for _ in range(1_000)) == BURST
    for _ in range(50):
        budget.earn()
    assert sum(budget.spend() for _ in range(100)) == 10
    clock.now = 2.0
    assert sum(budget.spend() for _ in range(100)) == 2 * EARNED_BY_SECOND
    clock.now = 1e6
    assert sum(budget.spend() for _ in range(1_000)) == BURST


def test_without_budget_nothing_is_sent_again() -> None:
    budget = RetryBudget(Clock())
    while budget.spend():
        pass
    fleet = Fleet(["a", "b"])
    assert not tries(fleet, budget=budget).grant(lost("a", failed()))
    assert (fleet.denied, fleet.retried) == (["budget"], 0)
