"""One of two engines fails fast while its `/health` says 200: what reaches it, and what reaches clients.

Each kind of failure under each policy: the full form takes all policies and shows the errors of 200 requests. Nothing
but the requests tells the router, as no probe and no registration comes after the first.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from fd_router._core import POLICIES
from rig import Stage
from rig.crowd import Crowd, statuses
from rig.table import FULL, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig import Engine, Router

THRESHOLD = 5
CLIENTS = 4
REQUESTS = 200 if FULL else 80
QUICK = ("round_robin", "request_num", "cache_aware")
NAMES = tuple(policy.name for policy in POLICIES) if FULL else QUICK
CONFIG = """
scheduler: {{policy: {policy}}}
manager: {{health-check-interval-secs: 3600, metrics-interval-secs: 0.2}}
upstream: {{first-byte-timeout-secs: 0.5, max-idle-per-worker: 0}}
"""
REFUSING = {"retry-after": "30"}
RETRIED = "fd_router_retries_total"
EJECTED = "fd_router_ejections_total"
PASSED_OVER = "fd_router_passed_over_total"
ERRORS = Table(f"Client errors of {REQUESTS} with one of two engines failing (requests that reached it)")


class Kind(NamedTuple):
    """How an engine fails."""

    faults: dict[str, Any]
    client: int = 0
    """The status that clients see of it; 0: nobody sees anything."""
    pressure: bool = False
    no_answer: bool = True
    stream: bool = False


KINDS = {
    "500": Kind({"status": 500}, 500, no_answer=False),
    "503": Kind({"status": 503, "status_headers": REFUSING}, pressure=True, no_answer=False),
    "429": Kind({"status": 429, "status_headers": REFUSING}, pressure=True, no_answer=False),
    "304": Kind({"status": 304, "status_headers": REFUSING}, pressure=True, no_answer=False),
    "refused": Kind({"connect": "refuse"}),
    "reset": Kind({"connect": "reset"}),
    "hangs": Kind({"connect": "hang"}, 504),
    "hangs, stream": Kind({"connect": "hang"}, stream=True),
}


@pytest.fixture(scope="module")
def engines(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[list[Engine]]:
    stage = Stage(tmp_path_factory.mktemp("engines"))
    try:
        yield stage.start_engines(2, token_secs=0.002, answer_tokens=4, record=1)
    finally:
        stage.close()
    ERRORS.show(request.config)


@pytest.fixture(scope="module")
def policy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def shared(policy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    stage = Stage(tmp_path_factory.mktemp(policy))
    try:
        yield stage.start_router(CONFIG.format(policy=policy))
    finally:
        stage.close()


@pytest.fixture
def router(shared: Router, engines: list[Engine]) -> Iterator[Router]:
    """With both engines registered, and sound."""
    for engine in engines:
        assert shared.register(engine.port).status_code == 200
    yield shared
    for engine in engines:
        engine.heal()
        assert shared.unregister(engine.port).status_code == 200
    shared.assert_idle()


class Counted:
    """What was counted since the start of the test."""

    def __init__(self, router: Router, victim: Engine, kind: Kind) -> None:
        self._router, self._victim, self._kind = router, victim, kind
        self._before = Counter(self._now())

    def __call__(self) -> Counter[str]:
        return Counter(self._now()) - self._before

    def _now(self) -> dict[str, int]:
        metrics = self._router.metrics()
        reached = (
            metrics.value("fd_router_upstream_errors_total")
            if self._kind.no_answer
            else self._victim.stats()["refused"]
        )
        names = (RETRIED, EJECTED, PASSED_OVER)
        return {"reached": int(reached), **{name: int(metrics.value(name)) for name in names}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", NAMES, indirect=True)
def test_one_of_two_fails(router: Router, engines: list[Engine], policy: str, kind: str) -> None:
    fault, victim, other = KINDS[kind], *engines
    counted = Counted(router, victim, fault)
    victim.fault(**fault.faults)
    got = Crowd(router, CLIENTS, stream=fault.stream).ask(REQUESTS)
    counts = counted()
    failed = statuses(got)
    served = failed.pop(200)
    ERRORS.put(policy, kind, f"{failed.total()} ({counts['reached']})")
    assert counts["reached"], "the fault never happened"
    assert {each.engine for each in got if each.status == 200} == {other.name}
    # What was under way when it was found out, and one for each time that it is tried again.
    if fault.pressure:
        assert counts["reached"] <= CLIENTS
        assert counts[EJECTED] == 0
        assert counts[PASSED_OVER] == 1
    else:
        assert counts["reached"] <= THRESHOLD + CLIENTS + counts[EJECTED]
        # Some see too little of it: `least_work` gives a busy worker nothing.
        assert counts[EJECTED] >= 1 or counts["reached"] < THRESHOLD + CLIENTS
    if fault.client:
        assert set(failed) <= {fault.client}
        assert failed.total() == counts["reached"]
        assert counts[RETRIED] == 0
    else:
        assert served == REQUESTS
        assert counts[RETRIED] == counts["reached"]


@pytest.mark.parametrize("policy", QUICK, indirect=True)
def test_bad_requests_are_nobody_s_fault(router: Router, engines: list[Engine]) -> None:
    counted = Counted(router, engines[0], KINDS["500"])
    for engine in engines:
        engine.fault(status=400)
    before = sum(engine.stats()["requests"] for engine in engines)
    assert statuses(Crowd(router, CLIENTS).ask(REQUESTS)) == {400: REQUESTS}
    counts = counted()
    assert sum(engine.stats()["requests"] for engine in engines) - before == REQUESTS
    assert (counts[RETRIED], counts[EJECTED], counts[PASSED_OVER]) == (0, 0, 0)
