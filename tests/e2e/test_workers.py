"""Workers as operators see them, and what they order: taken out, let back in, never against a running request."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from rig import Stage, wait_for
from rig.memory import worker_pid
from rig.raw_worker import reply
from rig.router import chat_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rig import Engine, RawWorker, Router

    StartRouter = Callable[..., Router]
    StartEngine = Callable[..., Engine]
    StartEngines = Callable[..., list[Engine]]

QUICK = """
scheduler: {policy: round_robin}
manager: {health-check-interval-secs: 0.3, health-check-timeout-secs: 0.5, forget-after-secs: 0.5}
"""
HEARTBEATS = 10
STREAMS = 4


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    stage = Stage(tmp_path_factory.mktemp("workers"))
    try:
        yield stage.start_router()
    finally:
        stage.close()


def row(router: Router, worker: Engine | RawWorker) -> dict[str, Any]:
    """What `/workers` says of one worker."""
    rows = {each["url"]: each for each in router.get("/workers").json()["workers"]}
    found: dict[str, Any] = rows[worker.url]
    return found


def order(router: Router, what: str, worker: Engine | RawWorker, **more: object) -> httpx.Response:
    return router.post(f"/workers/{what}", {"url": worker.url, **more})


def wait_state(router: Router, worker: Engine | RawWorker, state: str) -> dict[str, Any]:
    return wait_for(
        lambda: found if (found := row(router, worker))["state"] == state else None,
        why=lambda: f"{worker.url} is not {state}: {row(router, worker)}\n{router.process.tail()}",
    )


def beats(engine: Engine, number: int) -> None:
    """Wait for so many further registrations."""
    before = engine.stats()["registrations"]
    wait_for(lambda: engine.stats()["registrations"] >= before + number)


@pytest.mark.parametrize("verbs", [("drain", "undrain"), ("eject", "readmit")])
def test_an_engine_that_was_taken_out_stays_out(
    start_router: StartRouter, start_engines: StartEngines, verbs: tuple[str, str]
) -> None:
    """For ten heartbeats, with streams that run on, and until an operator says otherwise."""
    router = start_router(QUICK)
    victim, other = start_engines(2, router, token_secs=0.05, answer_tokens=160)
    router.wait_workers(mixed=2)
    with ExitStack() as stack:
        streams = [
            stack.enter_context(router.stream("/v1/chat/completions", chat_body("hi", stream=True)))
            for _ in range(2 * STREAMS)
        ]
        lines = [stream.iter_lines() for stream in streams]
        assert all(next(each) for each in lines)
        assert row(router, victim)["running"] == STREAMS
        answer = order(router, verbs[0], victim)
        assert answer.status_code == 200, answer.text
        state = "draining" if verbs[0] == "drain" else "ejected"
        assert answer.json()["worker"]["state"] == state
        before = victim.stats()["requests"]
        beats(victim, HEARTBEATS)
        for _ in range(4):
            assert router.chat("hello", max_tokens=1).headers["x-engine"] == other.name
        found = row(router, victim)
        assert (found["state"], found["running"]) == (state, STREAMS)
        assert "by order" in found["why"]
        if state == "draining":
            assert f"{STREAMS} requests under way" in found["why"]
        assert victim.stats()["requests"] == before
        for each in lines:
            assert [line for line in each if line][-1] == "data: [DONE]"
    wait_state(router, victim, "drained" if verbs[0] == "drain" else "ejected")
    beats(victim, HEARTBEATS)
    assert victim.stats()["requests"] == before
    assert router.numbers()["mixed"] == 2
    assert order(router, verbs[1], victim).json()["worker"]["state"] == "up"
    served = {router.chat("hello", max_tokens=1).headers["x-engine"] for _ in range(4)}
    assert served == {victim.name, other.name}


def test_aborts_reach_a_worker_on_probation(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router(QUICK.replace("forget-after-secs: 0.5", "forget-after-secs: 60"))
    engine = start_engine(router, token_secs=0.05, answer_tokens=1_000)
    router.wait_workers(mixed=1)
    with router.stream("/v1/chat/completions", chat_body("hi", stream=True)) as stream:
        lines = stream.iter_lines()
        assert next(lines)
        engine.fault(health_status=500)
        assert wait_state(router, engine, "probation")["running"] == 1
        answer = router.post("/v1/abort_requests", {"abort_all": True}).json()
        assert (len(answer["aborted"]), answer["errors"]) == (1, [])
        assert '"finish_reason":"abort"' in [line for line in lines if line][-2]


def test_drained_outlives_a_restart_of_the_engine_and_of_the_process_that_serves(
    start_router: StartRouter, start_engine: StartEngine
) -> None:
    router = start_router(QUICK)
    engine, other, plain = (start_engine(router) for _ in range(3))
    router.wait_workers(mixed=3)
    assert order(router, "drain", engine).json()["worker"]["state"] == "drained"
    engine.kill()
    plain.kill()
    router.wait_log(rf"\[fd-router\] health: mixed {plain.url} forgotten")
    found = row(router, engine)
    assert "its probes fail" in found["why"], "it is known, and others are forgotten by then"
    assert (found["state"], found["last_probe"]["well"]) == ("drained", False)
    assert found["last_probe"]["error"]
    again = start_engine(router, port=engine.port)
    router.wait_workers(mixed=2)
    assert row(router, again)["state"] == "drained"
    router.check_worker = False
    os.kill(worker_pid(router), signal.SIGKILL)
    wait_for(lambda: ready(router))
    router.wait_workers(mixed=2)
    wait_state(router, again, "drained")
    assert {router.chat("hi").headers["x-engine"] for _ in range(4)} == {other.name}
    assert order(router, "undrain", again).status_code == 200
    wait_state(router, again, "up")


def ready(router: Router) -> bool:
    try:
        return router.get("/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_an_order_outlives_the_router_where_there_is_a_folder_for_it(
    start_router: StartRouter, start_engine: StartEngine, tmp_path: Path
) -> None:
    config = f"server: {{state-path: {tmp_path / 'state'}}}\n{QUICK}"
    engine = start_engine()
    first = start_router(config)
    assert first.register(engine.port).status_code == 200
    assert order(first, "eject", engine).status_code == 200
    assert first.stop() == 0
    second = start_router(config)
    second.wait_workers(mixed=1)
    found = row(second, engine)
    assert (found["state"], found["why"]) == ("ejected", "by order")
    assert second.chat("hi").status_code == 502


def test_a_drained_worker_is_removed_when_it_is_empty(
    start_router: StartRouter, start_engine: StartEngine
) -> None:
    router = start_router(QUICK)
    engine = start_engine(router, token_secs=0.05)
    router.wait_workers(mixed=1)
    with router.stream("/v1/chat/completions", chat_body("hi", stream=True, max_tokens=30)) as stream:
        lines = stream.iter_lines()
        assert next(lines)
        assert order(router, "drain", engine, remove=True).json()["worker"]["state"] == "draining"
        assert row(router, engine)["why"].endswith("then it is removed")
        assert router.numbers()["mixed"] == 1
        assert [line for line in lines if line][-1] == "data: [DONE]"
    router.wait_workers(mixed=0)
    beats(engine, HEARTBEATS)
    assert router.numbers()["mixed"] == 0, "its heartbeats do not bring it back"
    assert row(router, engine)["state"] == "drained"
    assert "removed" in row(router, engine)["why"]
    # Undrained it comes with its next heartbeat.
    assert order(router, "undrain", engine).status_code == 200
    router.wait_workers(mixed=1)


def test_a_whole_fleet_that_is_taken_out_is_not_ready(
    start_router: StartRouter, start_engine: StartEngine
) -> None:
    router = start_router(QUICK)
    engine = start_engine(router)
    router.wait_workers(mixed=1)
    order(router, "drain", engine)
    assert router.get("/ready").json() == {
        "ready": False,
        "reason": "every mixed worker is taken out by order",
    }
    assert router.chat("hi").status_code == 502, "not even as the last one"
    order(router, "undrain", engine)
    assert router.get("/ready").status_code == 200
    assert router.chat("hi").status_code == 200


def test_a_leg_of_pairs_is_drained(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router(QUICK, "--splitwise")
    first, second = (start_engine(router, role="prefill") for _ in range(2))
    start_engine(router, role="decode")
    router.wait_workers(prefill=2, decode=1)
    order(router, "drain", first)
    for _ in range(4):
        assert router.chat("hi").headers["x-router-prefill-url"] == second.url
    order(router, "drain", second)
    assert router.chat("hi").status_code == 503
    assert router.get("/ready").status_code == 503


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("drain", {"url": "http://127.0.0.1:1"}, 404, "http://127.0.0.1:1 is not registered"),
        ("undrain", {"url": "http://127.0.0.1:1"}, 404, "http://127.0.0.1:1 is not registered"),
        ("eject", {"host_ip": "127.0.0.1", "port": 1}, 404, "http://127.0.0.1:1 is not registered"),
        ("readmit", {"url": "127.0.0.1:1"}, 404, "http://127.0.0.1:1 is not registered"),
        ("drain", {}, 400, 'accepted: {"url": "http://IP:PORT"}'),
        ("drain", {"url": 5}, 400, 'accepted: {"url": "http://IP:PORT"}'),
        ("eject", [], 400, 'accepted: {"url": "http://IP:PORT"}'),
        ("drain", {"url": "http://127.0.0.1:1", "remove": "yes"}, 400, "remove: accepted: true or false"),
    ],
)
def test_orders_that_cannot_be_carried_out(
    shared: Router, path: str, body: object, status: int, message: str
) -> None:
    answer = shared.post(f"/workers/{path}", body)
    assert (answer.status_code, answer.json()["code"]) == (status, status)
    assert answer.json()["msg"].startswith(message)


def test_orders_that_do_not_fit(start_router: StartRouter, raw_worker: Callable[..., RawWorker]) -> None:
    router = start_router(QUICK)
    worker = raw_worker(lambda _: reply(b"{}"))
    assert router.register(worker.port).status_code == 200
    for taken, wrong in (("drain", "readmit"), ("eject", "undrain")):
        assert order(router, taken, worker).status_code == 200
        assert order(router, taken, worker).status_code == 200, "the same again is no mistake"
        answer = order(router, wrong, worker)
        assert (answer.status_code, answer.json()["code"]) == (409, 409)
        assert order(router, {"drain": "undrain", "eject": "readmit"}[taken], worker).status_code == 200
    assert order(router, "drain", worker).status_code == 200
    assert order(router, "eject", worker).status_code == 409
    assert router.unregister(worker.port).status_code == 200
    assert router.register(worker.port).status_code == 200
    assert row(router, worker)["state"] == "up", "unregistering ends an order"


# ---- states


def test_a_row_says_how_a_worker_does(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router(
        "scheduler: {policy: cache_aware, cache-block-size: 64}\nmanager: {health-check-interval-secs: 0.2}"
    )
    engine = start_engine()
    assert router.register(engine.port, version="fastdeploy 2.5", cache_tokens=1000).status_code == 200
    for _ in range(3):
        assert router.chat("a prompt that fills some blocks; " * 10).status_code == 200
    found = wait_for(lambda: each if (each := row(router, engine))["last_probe"] else None)
    assert (found["state"], found["role"], found["source"]) == ("up", "mixed", "register")
    assert found["version"] == "fastdeploy 2.5"
    assert found["cache_tokens"]
    assert found["why"] == "answers its probes"
    assert found["last_probe"]["well"]
    assert found["last_probe"]["at"] >= found["since"]
    assert found["last_probe"]["error"] is None
    assert 0 < found["first_byte"]["p50"] <= found["first_byte"]["p95"] < 20
    assert found["hit"]["prompt_tokens"] > 0
    assert 0 < found["hit"]["true"] < 1
    assert found["errors"] == {}
    wait_for(lambda: row(router, engine)["models"], why="its models are not known")
    assert (found["running"], found["pending_tokens"], found["host"]) == (0, 0, None)
    engine.fault(status=500)
    assert router.chat("hi").status_code == 500
    assert row(router, engine)["errors"] == {"500": 1}
    engine.heal()


def test_a_lost_worker_is_on_probation_and_says_why(
    start_router: StartRouter, start_engine: StartEngine
) -> None:
    router = start_router("manager: {health-check-interval-secs: 0.2}")
    engine = start_engine(router)
    router.wait_workers(mixed=1)
    assert row(router, engine)["state"] == "up"
    engine.fault(health_status=503)
    found = wait_state(router, engine, "probation")
    assert found["why"] == "status 503"
    assert router.metrics().value("fd_router_worker_up", worker=engine.url) == 0
    engine.heal()
    back = wait_state(router, engine, "up")
    assert back["since"] > found["since"]
    assert router.metrics().value("fd_router_worker_up", worker=engine.url) == 1
    assert router.metrics().value("fd_router_probes_total", worker=engine.url, result="failed") >= 1


def test_a_failing_worker_is_ejected_and_readmitted(
    start_router: StartRouter, start_engines: StartEngines
) -> None:
    router = start_router("scheduler: {policy: round_robin}\nmanager: {health-check-interval-secs: 3600}")
    victim, _ = start_engines(2, router)
    router.wait_workers(mixed=2)
    victim.fault(status=500)
    for _ in range(10):
        router.chat("hi")
    found = row(router, victim)
    assert found["state"] == "ejected"
    assert found["why"].startswith("5 requests in a row failed, the last by status 500; ")
    assert router.metrics().value("fd_router_ejections_total", worker=victim.url) == 1
    assert router.metrics().value("fd_router_worker_up", worker=victim.url) == 0
    victim.heal()
    assert order(router, "readmit", victim).json()["worker"]["state"] == "up"
    assert {router.chat("hi").status_code for _ in range(4)} == {200}
    victim.fault(status=429)
    router.chat("hi")
    router.chat("hi")
    found = row(router, victim)
    assert found["state"] == "unready"
    assert found["why"].startswith("a request was answered 429; passed over for ")
    victim.heal()


def test_status_shows_the_fleet_at_a_glance(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router()
    engine = start_engine(router)
    router.wait_workers(mixed=1)
    for _ in range(3):
        assert router.chat("hi").status_code == 200
    router.post("/v1/chat/completions", content=b"x")
    status = router.get("/status").json()
    assert status["requests"]["answers"] == 3
    assert status["requests"]["answers_per_second"] > 0
    assert (status["requests"]["failed"], status["requests"]["served"]) == (0, 0)
    assert status["rejects"] == {"bad_request": 1}
    assert status["states"] == {
        "up": 1,
        "unready": 0,
        "probation": 0,
        "ejected": 0,
        "draining": 0,
        "drained": 0,
    }
    assert [each["url"] for each in status["workers"]] == [engine.url]
    assert len(status["config"]) == 16
    assert start_router("server: {max-in-flight: 7}").get("/status").json()["config"] != status["config"]


def test_a_slow_engine_is_named_by_its_first_byte(
    start_router: StartRouter, start_engine: StartEngine
) -> None:
    router = start_router("scheduler: {policy: round_robin}")
    slow, quick = start_engine(router, token_secs=0.03), start_engine(router)
    router.wait_workers(mixed=2)
    for _ in range(6):
        assert router.chat("hi").status_code == 200
    assert row(router, slow)["first_byte"]["p50"] >= 0.4
    assert row(router, quick)["first_byte"]["p50"] < 0.4
    scrape = router.metrics()
    assert scrape.value("fd_router_ttft_seconds_bucket", worker=slow.url, le="0.25") == 0
    assert scrape.value("fd_router_ttft_seconds_count", worker=slow.url, status_class="2xx") == 3
