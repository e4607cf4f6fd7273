"""Engines that refuse for load: passed over for as long as they ask, never ejected, and heard out when all refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rig import wait_for
from rig.crowd import Crowd, statuses
from rig.table import FULL

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Engine, Router

CONFIG = "manager: {health-check-interval-secs: 3600}\nscheduler: {policy: request_num}"
CLIENTS = 4
REQUESTS = 1000 if FULL else 200
FLEET = 8
BODY = '{"busy":  1.0}'


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("status", [429, 503, 304])
def test_all_refuse(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]], status: int, stream: bool
) -> None:
    """The engine's own answer, and next to no more requests upstream than there are."""
    body = "" if status == 304 else BODY
    faults = {"status": status, "status_body": body, "status_headers": {"retry-after": "7"}}
    router = start_router(CONFIG)
    engines = start_engines(FLEET // 2, router, register_secs=3600, record=1, faults=faults)
    router.wait_workers(mixed=len(engines))
    got = Crowd(router, CLIENTS, stream=stream).ask(REQUESTS)
    assert statuses(got) == {status: REQUESTS}
    assert {each.headers["retry-after"] for each in got} == {"7"}
    if body:
        assert {each.body for each in got} == {body.encode()}
    asked = [engine.stats()["refused"] for engine in engines]
    assert REQUESTS <= sum(asked) <= 1.2 * REQUESTS
    assert min(asked) > 0, "nobody is passed over when all refuse"
    metrics = router.metrics()
    assert metrics.value("fd_router_ejections_total") == 0
    assert metrics.value("fd_router_workers", role="mixed") == len(engines)
    assert metrics.value("fd_router_retries_total") == sum(asked) - REQUESTS


@pytest.mark.parametrize("asked", ["0", "Wed, 21 Oct 1999 07:28:00 GMT"])
def test_a_refusal_that_asks_for_no_time_draws_no_traffic(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]], asked: str
) -> None:
    router = start_router(CONFIG)
    busy, _ = start_engines(2, router, register_secs=3600, record=1, token_secs=0.001)
    router.wait_workers(mixed=2)
    busy.fault(status=503, status_headers={"retry-after": asked})
    got = Crowd(router, CLIENTS, stream=True).ask(REQUESTS)
    assert statuses(got) == {200: REQUESTS}
    assert 0 < busy.stats()["refused"] < REQUESTS / 10


def test_passed_over_for_as_long_as_it_asks(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]]
) -> None:
    router = start_router(CONFIG)
    # Registrations, of which there are five a second, do not shorten it.
    engines = start_engines(2, router, record=1, token_secs=0.001)
    router.wait_workers(mixed=2)
    busy, other = engines
    busy.fault(status=503, status_headers={"retry-after": "2"})
    with Crowd(router, CLIENTS) as crowd:
        wait_for(lambda: busy.stats()["refused"])
        router.wait_log(rf"\[fd-router\] pressure: {busy.url} answered 503 and is passed over for 2\.0 s")
        asked, heard = busy.stats()["refused"], busy.stats()["registrations"]
        wait_for(lambda: busy.stats()["registrations"] >= heard + 3)
        assert busy.stats()["refused"] == asked <= CLIENTS
        # It is asked again when its time is over, and serves as soon as it has room.
        wait_for(lambda: busy.stats()["refused"] > asked, why="it is never asked again")
        finished = busy.stats()["finished"]
        busy.heal()
        wait_for(lambda: busy.stats()["finished"] > finished, why="it is never asked again")
    assert statuses(crowd.got) == {200: len(crowd.got)}
    assert {got.engine for got in crowd.got} == {busy.name, other.name}
    assert router.metrics().value("fd_router_ejections_total") == 0
