"""Several models behind one router: each request goes to who serves its model, while engines come, end and change."""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import openai
import pytest

from rig.raw_worker import reply
from rig.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rig.engine import Engine
    from rig.raw_worker import Peer, RawWorker
    from rig.router import Router

    StartRouter = Callable[..., Router]
    StartEngine = Callable[..., Engine]
    StartEngines = Callable[..., list[Engine]]
    MakeWorker = Callable[..., RawWorker]

SILENT = "manager: {health-check-interval-secs: 3600, models-interval-secs: 3600}"
FAST = {"token_secs": 0.0, "block_secs": 0.0, "answer_tokens": 2}


def ask(router: Router, model: str | None, **fields: Any) -> tuple[int, str]:
    """The status of a request for a model, and the name of the engine that answered."""
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2, **fields}
    answer = router.post("/v1/chat/completions", body if model is None else {"model": model, **body})
    return answer.status_code, answer.headers.get("x-engine", "")


def listed(router: Router) -> list[str]:
    return [entry["id"] for entry in router.get("/v1/models").json()["data"]]


def wait_serves(router: Router, engine: Engine, *models: str) -> None:
    router.wait_log(rf"\[fd-router\] register: {engine.url} serves {', '.join(models)}")


class Traffic:
    """Requests for models, in turn, without a pause; each answer is counted by (model, status, engine)."""

    def __init__(self, router: Router, *models: str) -> None:
        self.router = router
        self.models = models
        self.seen: Counter[tuple[str, int, str]] = Counter()
        self._over = threading.Event()

    def _run(self) -> None:
        while not self._over.is_set():
            for model in self.models:
                status, engine = ask(self.router, model)
                self.seen[model, status, engine] += 1

    @contextmanager
    def flows(self, clients: int = 3) -> Iterator[Traffic]:
        threads = [threading.Thread(target=self._run) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def wait(self, more: int = 20) -> None:
        """Wait for so many answers more."""
        wanted = self.seen.total() + more
        wait_for(lambda: self.seen.total() >= wanted, why="no traffic")

    def engines(self, model: str) -> set[tuple[int, str]]:
        """(status, engine) of all answers for a model."""
        return {(status, engine) for name, status, engine in self.seen if name == model}


def test_a_second_model_joins(start_router: StartRouter, start_engines: StartEngines) -> None:
    router = start_router("scheduler: {policy: round_robin}")
    first = start_engines(2, router, model="a", **FAST)
    router.wait_workers(mixed=2)
    for engine in first:
        wait_serves(router, engine, "a")
    with Traffic(router, "a").flows() as before:
        before.wait()
        second = start_engines(2, router, model="b", adapters="b-lora,b-alias", **FAST)
        router.wait_workers(mixed=4)
        with Traffic(router, "b", "b-lora", "b-alias").flows() as after:
            after.wait(60)
        before.wait()
    assert before.engines("a") == {(200, engine.name) for engine in first}
    for model in ("b", "b-lora", "b-alias"):
        assert after.engines(model) == {(200, engine.name) for engine in second}, model
    wait_for(lambda: listed(router) == ["a", "b", "b-alias", "b-lora"])


def test_a_second_model_joins_in_pd_mode(start_router: StartRouter, start_engines: StartEngines) -> None:
    router = start_router("", "--splitwise")
    first = [start_engines(1, router, model="a", role=role, **FAST)[0] for role in ("prefill", "decode")]
    router.wait_workers(prefill=1, decode=1)
    for engine in first:
        wait_serves(router, engine, "a")
    with Traffic(router, "a").flows() as before:
        before.wait()
        second = start_engines(1, router, model="b", role="prefill", **FAST)
        router.wait_workers(prefill=2, decode=1)
        wait_serves(router, second[0], "b")
        assert ask(router, "b")[0] == 503, "there is no decode worker for it yet"
        second += start_engines(1, router, model="b", role="decode", **FAST)
        router.wait_workers(prefill=2, decode=2)
        with Traffic(router, "b").flows() as after:
            after.wait()
        before.wait()
    assert before.engines("a") == {(200, first[1].name)}
    assert after.engines("b") == {(200, second[1].name)}
    # A pair serves one model.
    first[0].wait_stats(kv_sent=before.seen.total())
    second[0].wait_stats(kv_sent=after.seen.total())
    # Without a name any pair does, but one of a kind.
    assert [ask(router, name)[0] for name in 4 * (None, "default")] == 8 * [200]
    # Where one of them is not whole it is the other one.
    for decode in (first[1], second[1]):
        router.post("/workers/drain", {"url": decode.url})
        assert [ask(router, name)[0] for name in 4 * (None, "default")] == 8 * [200], decode.url
        router.post("/workers/undrain", {"url": decode.url})
    for decode in (first[1], second[1]):
        router.post("/workers/drain", {"url": decode.url})
    assert [ask(router, name)[0] for name in (None, "default", "a")] == 3 * [503]


def test_an_engine_that_ends_comes_back_with_another_model(
    start_router: StartRouter, start_engine: StartEngine
) -> None:
    router = start_router(SILENT)
    old = start_engine(router, model="a", **FAST)
    other = start_engine(router, model="c", **FAST)
    router.wait_workers(mixed=2)
    for engine, model in ((old, "a"), (other, "c")):
        wait_serves(router, engine, model)
    with Traffic(router, "a").flows() as traffic:
        traffic.wait()
        port = old.port
        old.kill()
        wait_for(lambda: any(status != 200 for status, _ in traffic.engines("a")))
        new = start_engine(router, model="b", port=port, **FAST)
        wait_serves(router, new, "b")
        traffic.wait()
    assert {engine for status, engine in traffic.engines("a") if status == 200} == {old.name}
    assert {status for status, _ in traffic.engines("a")} <= {200, 404, 502}
    assert ask(router, "b") == (200, new.name)
    assert ask(router, "c") == (200, other.name)
    assert ask(router, "a")[0] == 404


def test_a_model_that_nobody_serves(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router(SILENT)
    assert ask(router, "x")[0] == 502, "without workers nobody knows"
    engine = start_engine(router, model="org/a", adapters="lora", **FAST)
    router.wait_workers(mixed=1)
    wait_serves(router, engine, "org/a", "lora")
    with router.openai() as client:
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model="x", messages=[{"role": "user", "content": "hello"}])
        assert caught.value.code == "model_not_found"
        assert caught.value.type == "invalid_request_error"
        assert "`x`" in caught.value.message
        assert client.models.retrieve("org/a").id == "org/a"
        assert client.models.retrieve("lora").owned_by == "mock-engine"
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve("x")
        assert caught.value.code == "model_not_found"
    for model in ("org/a", "lora", "default", None):
        assert ask(router, model) == (200, engine.name)
    asked = router.metrics().value("http_requests_total", endpoint="/v1/models/{id}")
    assert asked == 3, "whatever the model is called"
    assert [sample.labels["code"] for sample in router.metrics() if "rejected" in sample.name].count(
        "model_not_found"
    ) == 1


def model_list(*names: str) -> bytes:
    return json.dumps(
        {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}
    ).encode()


def test_a_registration_does_not_wait_for_the_list(
    start_router: StartRouter, start_engine: StartEngine, raw_worker: MakeWorker
) -> None:
    answer_it = threading.Event()

    def answer(peer: Peer) -> bytes:
        if peer.path == "/v1/models":
            assert answer_it.wait(20)
            return reply(model_list("slow"))
        return reply(b'{"choices":[]}', 200, "x-engine: raw")

    router = start_router(SILENT + "\nscheduler: {policy: round_robin}")
    worker = raw_worker(answer, models=True)
    assert router.register(worker.port).elapsed.total_seconds() < 2
    assert ask(router, "anything") == (200, "raw"), "its list is unknown"
    engine = start_engine(router, model="a", **FAST)
    router.wait_workers(mixed=2)
    wait_serves(router, engine, "a")
    assert ask(router, "slow") == (200, "raw")
    router.wait_log(rf"register: {worker.url} does not list its models and takes any: no answer within 1 s")
    assert {ask(router, "a") for _ in range(4)} == {(200, engine.name), (200, "raw")}
    answer_it.set()
    router.wait_log(rf"register: {worker.url} serves slow")
    assert ask(router, "anything")[0] == 404


def test_a_worker_without_a_list_takes_anything(
    start_router: StartRouter, start_engine: StartEngine, raw_worker: MakeWorker
) -> None:
    router = start_router(SILENT + "\nscheduler: {policy: round_robin}")
    worker = raw_worker(lambda _: reply(b"{}", 200, "x-engine: raw"))
    assert router.register(worker.port).status_code == 200
    engine = start_engine(router, model="a", **FAST)
    router.wait_workers(mixed=2)
    wait_serves(router, engine, "a")
    router.wait_log(rf"register: {worker.url} does not list its models and takes any: status 404")
    assert {ask(router, "a") for _ in range(4)} == {(200, engine.name), (200, "raw")}
    assert {ask(router, "b") for _ in range(4)} == {(200, "raw")}


def test_models_of_the_register_file(
    start_router: StartRouter, start_engine: StartEngine, tmp_path: Any
) -> None:
    a, b = start_engine(model="/path/one", **FAST), start_engine(model="/path/two", **FAST)
    entries = [
        {"role": "mixed", "host_ip": "127.0.0.1", "port": engine.port, "models": models}
        for engine, models in ((a, ["a"]), (b, ["b", "b-alias"]))
    ]
    file = tmp_path / "register.yaml"
    file.write_text(json.dumps({"instances": entries}))
    router = start_router(f"manager: {{register-path: {file}}}")
    router.wait_workers(mixed=2)
    assert listed(router) == ["a", "b", "b-alias"]
    assert [ask(router, model) for model in ("a", "b", "b-alias")] == [
        (200, a.name),
        (200, b.name),
        (200, b.name),
    ]
    assert ask(router, "/path/one")[0] == 404
    assert router.get("/v1/models/b-alias").json()["id"] == "b-alias"


def test_the_engines_key(start_router: StartRouter, raw_worker: MakeWorker) -> None:
    def answer(peer: Peer) -> bytes:
        known = peer.header("authorization") == ["Bearer sesame-key"]
        return reply(model_list("a"), 200) if known else reply(b"{}", 401)

    router = start_router("manager: {engine-api-key: sesame-key}")
    worker = raw_worker(answer, models=True)
    assert router.register(worker.port).status_code == 200
    router.wait_log(rf"register: {worker.url} serves a")
    assert listed(router) == ["a"]
    assert router.chat("hello", model="a").status_code == 401, "it is for that question only"
    assert "sesame" not in router.settled_log()


def test_a_list_is_asked_for_again(start_router: StartRouter, raw_worker: MakeWorker) -> None:
    names = ["a"]

    def answer(peer: Peer) -> bytes:
        if peer.path == "/v1/models":
            return reply(model_list(*names))
        model = json.loads(peer.body)["model"]
        return reply(b"{}", 200 if model in names else 404)

    router = start_router("manager: {health-check-interval-secs: 3600, models-interval-secs: 0.2}")
    worker = raw_worker(answer, models=True)
    assert router.register(worker.port).status_code == 200
    router.wait_log(rf"register: {worker.url} serves a$")
    assert router.chat("hello", model="b").status_code == 404
    names.append("b")
    router.wait_log(rf"register: {worker.url} serves a, b$")
    assert router.chat("hello", model="b").status_code == 200


def test_nothing_is_asked_where_the_interval_is_0(
    start_router: StartRouter, start_engine: StartEngine
) -> None:
    router = start_router("manager: {models-interval-secs: 0}")
    engine = start_engine(router, model="a", **FAST)
    router.wait_workers(mixed=1)
    assert listed(router) == ["a"], "who wants to know is told"
    assert ask(router, "b") == (200, engine.name)


def test_a_request_that_is_sent_again_stays_with_its_model(
    start_router: StartRouter, start_engines: StartEngines
) -> None:
    router = start_router(SILENT + "\nscheduler: {policy: round_robin}")
    bad, good = start_engines(2, router, model="a", **FAST)
    (other,) = start_engines(1, router, model="b", **FAST)
    router.wait_workers(mixed=3)
    for engine, model in ((bad, "a"), (good, "a"), (other, "b")):
        wait_serves(router, engine, model)
    bad.fault(status=503)
    assert [ask(router, "a") for _ in range(4)] == 4 * [(200, good.name)]
    good.fault(status=503)
    assert {ask(router, "a")[0] for _ in range(4)} == {503}
    assert other.stats()["finished"] == 0
    assert router.metrics().value("fd_router_retries_total") >= 1
