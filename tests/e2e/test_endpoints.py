"""The endpoints and limits that the Go router does not have."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from rig.raw_worker import reply
from rig.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig.engine import Engine
    from rig.raw_worker import Peer, RawWorker
    from rig.router import Router

    StartRouter = Callable[..., Router]
    StartEngine = Callable[..., Engine]
    MakeWorker = Callable[..., RawWorker]

SILENT = "manager: {health-check-interval-secs: 3600}"


def json_worker(answers: dict[str, Any]) -> Callable[[Peer], None]:
    """Answers each path with its JSON; an unknown one with 404."""

    def answer(peer: Peer) -> None:
        payload = answers.get(peer.path)
        status = 404 if payload is None else 200
        peer.send(reply(json.dumps(payload or {}).encode(), status))

    return answer


def models(*names: str) -> dict[str, Any]:
    return {"/v1/models": {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}}


def test_models_are_the_union_of_the_workers(start_router: StartRouter, raw_worker: MakeWorker) -> None:
    router = start_router(SILENT)
    workers = [
        raw_worker(json_worker(answers), models=True) for answers in (models("b", "a"), models("b", "c"), {})
    ]
    for worker in workers:
        assert router.register(worker.port).status_code == 200
    answer = router.get("/v1/models").json()
    assert answer["object"] == "list"
    assert [entry["id"] for entry in answer["data"]] == ["a", "b", "c"]
    # Asked again within seconds, the router answers by itself; another fleet is another question.
    asked = [len(worker.hits) for worker in workers]
    assert router.get("/v1/models").json() == answer
    assert [len(worker.hits) for worker in workers] == asked
    assert router.unregister(workers[1].port).status_code == 200
    assert [entry["id"] for entry in router.get("/v1/models").json()["data"]] == ["a", "b"]


def test_aborts_reach_every_worker_and_come_back_as_one_answer(
    start_router: StartRouter, raw_worker: MakeWorker
) -> None:
    router = start_router(SILENT)
    found = raw_worker(json_worker({"/v1/abort_requests": {"aborted": ["r1"], "not_found": ["r2", "r3"]}}))
    wrapped = raw_worker(
        json_worker({"/v1/abort_requests": {"result": {"aborted": ["r2"], "not_found": ["r1", "r3"]}}})
    )
    broken = raw_worker(json_worker({}))
    for worker in (found, wrapped, broken):
        assert router.register(worker.port).status_code == 200
    answer = router.post("/v1/abort_requests", {"req_ids": ["r1", "r2", "r3"]})
    assert answer.status_code == 200
    body = answer.json()
    assert (sorted(body["aborted"]), body["not_found"]) == (["r1", "r2"], ["r3"])
    assert [error["url"] for error in body["errors"]] == [broken.url]
    assert [json.loads(hit.body) for hit in found.hits] == [{"req_ids": ["r1", "r2", "r3"]}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "must provide abort_all=true or req_ids"),
        (b'{"abort_all": false}', "must provide abort_all=true or req_ids"),
        (b'{"req_ids": []}', "must provide abort_all=true or req_ids"),
        (b"[]", "Invalid JSON format: not an object"),
    ],
)
def test_aborts_that_name_nothing(start_router: StartRouter, content: bytes, message: str) -> None:
    answer = start_router().post("/v1/abort_requests", content=content)
    assert (answer.status_code, answer.json()) == (400, {"error": message})


def test_ready_and_unregister(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router(SILENT)
    engine = start_engine()
    assert router.get("/health").status_code == 200
    missing = router.get("/ready")
    assert (missing.status_code, missing.json()) == (
        503,
        {"ready": False, "reason": "no mixed worker is registered"},
    )
    assert router.register(engine.port).status_code == 200
    assert router.get("/ready").json() == {"ready": True}
    gone = router.unregister(engine.port).json()
    assert (gone["code"], gone["msg"]) == (200, "Unregister success")
    assert "comes back" in gone["note"]
    assert "/workers/drain" in gone["note"]
    again = router.unregister(engine.port)
    assert (again.status_code, again.json()) == (
        404,
        {"code": 404, "msg": f"http://127.0.0.1:{engine.port} is not registered"},
    )
    assert router.get("/ready").status_code == 503


def test_a_pair_makes_pd_mode_ready(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router(SILENT, "--splitwise")
    assert router.get("/ready").json()["reason"] == "no prefill and no decode worker is registered"
    start_engine(router, role="prefill")
    router.wait_workers(prefill=1)
    assert router.get("/ready").json()["reason"] == "no decode worker is registered"
    start_engine(router, role="decode")
    router.wait_workers(decode=1)
    assert router.get("/ready").json() == {"ready": True}


def test_a_lost_worker_comes_back_by_itself(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router("manager: {health-check-interval-secs: 0.2, forget-after-secs: 300}")
    engine = start_engine()
    assert router.register(engine.port).status_code == 200
    engine.fault(health_status=503)
    router.wait_workers(mixed=0)
    engine.heal()
    router.wait_workers(mixed=1)
    router.wait_log(r"\[fd-router\] health: mixed \S+ answers again and is back in rotation")
    assert router.chat("hello", max_tokens=2).status_code == 200
    flips = {
        s.labels["direction"]: s.value
        for s in router.metrics()
        if s.name.startswith("fd_router_health_flips")
    }
    assert flips == {"down": 1, "up": 1}


def test_a_worker_that_stays_away_is_forgotten(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router("manager: {health-check-interval-secs: 0.1, forget-after-secs: 0.3}")
    engine = start_engine()
    assert router.register(engine.port).status_code == 200
    engine.fault(health_status=503)
    router.wait_log(r"\[fd-router\] health: mixed \S+ forgotten")
    engine.heal()
    assert router.numbers()["mixed"] == 0
    assert router.register(engine.port).status_code == 200


def test_more_requests_than_allowed_are_turned_away(
    start_router: StartRouter, start_engine: StartEngine
) -> None:
    router = start_router("server: {max-in-flight: 1}")
    engine = start_engine(token_secs=0.05)
    assert router.register(engine.port).status_code == 200
    with ThreadPoolExecutor(1) as clients:
        first = clients.submit(router.chat, "x", max_tokens=40)
        engine.wait_stats(running=1)
        turned_away = router.chat("y")
        assert turned_away.status_code == 503
        assert turned_away.headers["retry-after"] == "1"
        assert "server.max-in-flight" in turned_away.json()["error"]
        assert first.result().status_code == 200
    assert router.chat("z", max_tokens=1).status_code == 200
    router.wait_log(r"\[fd-router\] limit: ")


@pytest.mark.parametrize("roles", [("mixed",), ("prefill", "decode")])
def test_worker_urls_can_be_kept_from_clients(
    start_router: StartRouter, start_engine: StartEngine, roles: tuple[str, ...]
) -> None:
    router = start_router("server: {expose-worker-urls: false}", *(["--splitwise"] if len(roles) > 1 else []))
    for role in roles:
        start_engine(router, role=role)
    router.wait_workers(**dict.fromkeys(roles, 1))
    answer = router.chat("hello", max_tokens=2)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("x-router")]


def test_a_registration_is_answered_in_time_although_the_probe_hangs(
    start_router: StartRouter, start_engine: StartEngine
) -> None:
    """Engines wait 5 s for the answer; the probe's own limit may be longer."""
    router = start_router("manager: {health-check-timeout-secs: 60, health-success-threshold: 3}")
    engine = start_engine()
    engine.fault(health_hang=True)
    answer = router.register(engine.port)
    assert (answer.status_code, answer.json()["msg"]) == (
        503,
        f"http://127.0.0.1:{engine.port} service is not healthy",
    )
    assert answer.elapsed.total_seconds() < 60
    engine.heal()
    wait_for(lambda: router.register(engine.port).status_code == 200, why="not taken after it healed")
