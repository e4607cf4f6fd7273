"""Workers that fail for a while: out, back by themselves, and longer out each time."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import pytest

from rig import wait_for
from rig.crowd import Crowd, statuses
from rig.table import FULL

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Engine, Router

UNPROBED = """
scheduler: {policy: round_robin}
manager: {health-check-interval-secs: 3600}
upstream: {max-idle-per-worker: 0}
"""
PROBED = """
scheduler: {policy: round_robin}
manager: {health-check-interval-secs: 0.5, health-check-timeout-secs: 0.5}
upstream: {max-idle-per-worker: 0}
"""
CLIENTS = 4
FLAP_SECS, FLAPS = (2.0, 8) if FULL else (1.2, 4)
EJECTED = r"\[fd-router\] eject: {url} is out for ([\d.]+) s, \d+ requests in a row failed"
BACK = r"\[fd-router\] eject: {url} serves again and is back"


def times(router: Router, pattern: str, engine: Engine) -> list[str]:
    return re.findall(pattern.format(url=re.escape(engine.url)), router.log_text())


@pytest.mark.parametrize("fault", [{"status": 500}, {"connect": "reset"}], ids=["500", "reset"])
def test_ejected_and_back_whatever_its_heartbeats_say(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]], fault: dict[str, object]
) -> None:
    router = start_router(UNPROBED)
    victim, _ = start_engines(2, router, record=1, token_secs=0.001)
    router.wait_workers(mixed=2)
    with Crowd(router, CLIENTS, stream=True) as crowd:
        # A reset meets the heartbeat's probe too; then it is the router's own memory that must hold.
        victim.fault(**fault)
        wait_for(lambda: len(times(router, EJECTED, victim)) >= 2, why=router.process.tail)
        holds = [float(secs) for secs in times(router, EJECTED, victim)]
        assert 1.0 <= holds[0] <= 1.2
        assert 2.0 <= holds[1] <= 2.4
        # From here on it is sound, and says so five times a second; it is still out for the most of two seconds.
        victim.heal()
        before = victim.stats()
        wait_for(lambda: victim.stats()["registrations"] >= before["registrations"] + 3)
        assert not times(router, BACK, victim)
        assert victim.stats()["requests"] == before["requests"]
        router.wait_log(BACK.format(url=re.escape(victim.url)))
        wait_for(lambda: victim.stats()["finished"] > before["finished"] + 10, why="it gets no share")
    failed = statuses(crowd.got)
    del failed[200]
    # Five in a row, and what was under way with them; then one for each trial.
    assert failed.total() <= (5 + CLIENTS + len(holds) if "status" in fault else 0)
    assert router.metrics().value("fd_router_ejections_total") == len(holds)


@pytest.mark.parametrize("probed", [False, True], ids=["requests", "probes"])
def test_flapping(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]], probed: bool
) -> None:
    """Up and down: by what its requests say alone, and with probes and heartbeats beside them."""
    router = start_router(PROBED if probed else UNPROBED)
    victim, other = start_engines(
        2, router, record=1, token_secs=0.001, register_secs=0.2 if probed else 3600
    )
    router.wait_workers(mixed=2)
    downs = 0
    with Crowd(router, CLIENTS) as crowd:
        clock = threading.Event()
        for _ in range(FLAPS):
            connections, errors = victim.stats()["connections"], resets(router)
            victim.fault(connect="reset")
            clock.wait(FLAP_SECS)
            # While it is held it may be spared the whole of a time in which it is down.
            downs += victim.stats()["connections"] > connections and resets(router) > errors
            victim.heal()
            clock.wait(FLAP_SECS)
    assert downs, "it was never met while it was down"
    failed = statuses(crowd.got)
    served = failed.pop(200)
    assert failed.total() <= 0.001 * served, failed
    assert victim.stats()["finished"] > 0
    router.settled_log()
    held = [float(secs) for secs in times(router, EJECTED, victim)]
    waits = [
        float(secs) for secs in times(router, r"mixed {url} registered again, but waits ([\d.]+) s", victim)
    ]
    grown = held + waits
    assert len(grown) >= 2
    assert max(grown) >= 1.5 * grown[0], (held, waits)
    assert {got.engine for got in crowd.got} == {victim.name, other.name}


def resets(router: Router) -> float:
    return router.metrics().value("fd_router_upstream_errors_total", kind="reset_before_head")


def test_restarted_between_two_probes_is_cold(
    start_router: Callable[..., Router], start_engine: Callable[..., Engine]
) -> None:
    """No probe saw it gone; a request that was refused did."""
    prompt = "a prompt that fills some blocks of the cache of one engine; " * 8
    router = start_router(
        "scheduler: {policy: cache_aware}\nmanager: {health-check-interval-secs: 3600}\nlog: {level: debug}"
    )
    first = start_engine(router, register_secs=3600, token_secs=0.001)
    router.wait_workers(mixed=1)
    for _ in range(2):
        assert router.chat(prompt).headers["x-engine"] == first.name
    router.wait_log(rf"hitRatios=map\[{first.url}:100\]")
    first.kill()
    router.forget_log()
    assert router.chat(prompt).status_code == 502
    assert router.metrics().value("fd_router_upstream_errors_total", kind="refused") >= 1
    again = start_engine(router, port=first.port, register_secs=3600, token_secs=0.001)
    assert again.url == first.url
    again.wait_stats(registrations=1)
    router.forget_log()
    answer = router.chat(prompt)
    assert answer.headers["x-engine"] == again.name
    assert answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    router.wait_log(r"hitRatios=map\[\]")
    assert router.numbers()["mixed"] == 1
