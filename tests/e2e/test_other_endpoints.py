"""Every endpoint of engines beside completions: forwarded, chosen, counted, retried and streamed as these are."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import openai
import pytest

from fd_router.edge.served import CHAT, COMPLETIONS, SERVED
from rig import Stage, reply, sse_head
from rig.router import chat_body
from rig.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rig import Engine, Peer, RawWorker, Router

    StartRouter = Callable[..., Router]
    StartEngine = Callable[..., Engine]
    MakeWorker = Callable[..., RawWorker]

OTHERS = [path for path in SERVED if path not in (CHAT, COMPLETIONS)]
SILENT = "manager: {health-check-interval-secs: 3600}"
WAV = b"RIFF\x00\xff--\r\n"
BODIES: dict[str, dict[str, Any]] = {
    "texts": {"model": "mock", "input": "hello", "query": "q", "documents": ["a", "b"], "text_2": ["c"]},
    "json": {"model": "mock", "prompt": "hello", "tokens": [104, 105]},
}


def body_of(path: str) -> dict[str, Any]:
    """Arguments of `Router.post` for an endpoint."""
    if SERVED[path] == "form":
        return {"files": {"file": ("a.wav", WAV, "audio/wav")}, "data": {"model": "mock"}}
    return {"json": BODIES[SERVED[path]]}


@pytest.fixture(scope="module")
def stage_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("endpoints"))
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def router(stage_of_all: Stage) -> Router:
    """A router with one engine for many tests."""
    router = stage_of_all.start_router(
        "server: {extra-paths: [/v2/embed, GET /version], error-format: openai}\nscheduler: {policy: cache_aware}"
    )
    stage_of_all.start_engine(router, name="one", token_secs=0.001)
    router.wait_workers(mixed=1)
    return router


@pytest.mark.parametrize("path", OTHERS)
def test_an_endpoint_is_served_as_completions_are(router: Router, path: str) -> None:
    def counted() -> tuple[float, float]:
        scrape = router.metrics()
        url = router.registered()["mixed"][0]["url"]
        return (
            scrape.value("inference_requests_total", mixed_worker=url, status_code="200"),
            scrape.value("http_requests_total", method="POST", endpoint=path, status_code="200"),
        )

    served, asked = counted()
    answer = router.post(f"{path}?a=%20b&c", **body_of(path))
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-engine"] == "one"
    # The router counts when all is said.
    wait_for(lambda: counted() == (served + 1, asked + 1), why=lambda: str(counted()))
    head = router.client.head(path)
    assert (head.status_code, head.headers["allow"], head.content) == (200, "POST, HEAD", b"")


def test_the_engine_gets_the_request_as_it_came(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router(SILENT)
    engine = start_engine()
    assert router.register(engine.port).status_code == 200
    sent: dict[str, bytes] = {}
    for path in OTHERS:
        answer = router.post(f"{path}?a=%20b&c", **body_of(path))
        assert answer.status_code == 200
        sent[f"{path}?a=%20b&c"] = answer.request.read()
    assert {seen.target: seen.body for seen in engine.seen()} == sent
    (form,) = [seen for seen in engine.seen() if "audio" in seen.target]
    assert form.header("content-type")[0].startswith("multipart/form-data; boundary=")
    assert WAV in form.body


@pytest.mark.parametrize("path", [path for path in OTHERS if SERVED[path] != "form"])
def test_what_is_no_json_is_refused(router: Router, path: str) -> None:
    answer = router.post(path, content=b"[1]")
    assert answer.status_code == 400
    assert answer.json() == {
        **({"type": "error"} if path == "/v1/messages" else {}),
        "error": {
            "message": "Invalid JSON format: expected an object at byte 0",
            "type": "invalid_request_error",
            "code": "bad_request",
        },
    }


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages", "/generate"])
def test_streams_pass_as_they_are(router: Router, path: str) -> None:
    body = {**BODIES["texts"], "stream": True}
    with router.stream(path, body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        pieces = list(answer.iter_raw())
    events = b"".join(pieces).split(b"\n\n")[:-1]
    assert len(events) >= 5
    assert b"one:" in b"".join(pieces)
    assert all(b"data: " in event for event in events)


def test_the_official_client_finds_its_other_endpoints(router: Router) -> None:
    with router.openai() as client:
        embedded = client.embeddings.create(model="mock", input=["a", "b"], encoding_format="float")
        assert [len(each.embedding) for each in embedded.data] == [4, 4]
        said = client.responses.create(model="mock", input="hello", instructions="be brief")
        assert said.output_text.startswith("one:")
        with client.responses.create(model="mock", input="hello", stream=True) as events:
            texts = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert "".join(texts) == said.output_text
        heard = client.audio.transcriptions.create(model="mock", file=("a.wav", WAV))
        assert heard.text.startswith("one: ")


def test_nothing_else_is_forwarded(router: Router) -> None:
    assert router.post("/v2/embed", {"texts": ["a"]}).json()["id"] == "one"
    # Whatever it is: the engine says what it thinks of it.
    assert router.post("/v2/embed", content=b"\xff\x00").headers["x-engine"] == "one"
    assert router.get("/version").json() == {"version": "one"}
    for method, path in [
        ("GET", "/v2/embed"),
        ("POST", "/version"),
        ("POST", "/mock/fault"),
        ("GET", "/nope"),
    ]:
        answer = router.client.request(method, path)
        assert answer.status_code == 404
        assert answer.json()["error"] == {
            "message": f"no such endpoint: {method} {path}",
            "type": "invalid_request_error",
            "code": "not_found",
        }
    counted = "http_requests_total"
    wait_for(lambda: router.metrics().value(counted, method="POST", endpoint="/v2/embed") >= 2)
    assert router.metrics().value(counted, method="POST", endpoint="/v2/embed") == 2


def test_texts_are_found_again_where_they_were_served(
    start_router: StartRouter, start_engine: StartEngine
) -> None:
    """Two engines; a request goes where the like of it went, by whichever member its text is in."""
    router = start_router("scheduler: {policy: cache_aware, cache-block-size: 16, load-balance-weight: 0}")
    engines = [start_engine() for _ in range(2)]
    for engine in engines:
        assert router.register(engine.port).status_code == 200
    text = "The same long beginning of many texts, which fills some blocks. "
    requests: list[tuple[str, Callable[[int], dict[str, Any]]]] = [
        ("/v1/embeddings", lambda at: {"input": [text, f"{at}"]}),
        ("/v1/rerank", lambda at: {"query": text, "documents": [f"{at}", "c"]}),
        (
            "/v1/messages",
            lambda at: {"system": text + text, "messages": [{"role": "user", "content": f"{at}"}]},
        ),
    ]
    for path, body in requests:
        served = {router.post(path, body(at)).headers["x-engine"] for at in range(4)}
        assert len(served) == 1, path
        router.wait_log(r"hitRatios=map\[http\S+:\d+\]")
    # What leaves nothing in a cache has no part in it.
    router.forget_log()
    assert router.post("/tokenize", {"prompt": text}).status_code == 200
    router.wait_log(r"empty prompt")


def test_an_engine_that_fails_is_left_for_another(
    start_router: StartRouter, start_engine: StartEngine
) -> None:
    router = start_router(SILENT)
    # Of idle workers the first url is chosen.
    bad, good = sorted((start_engine(), start_engine()), key=lambda engine: engine.url)
    for engine in (bad, good):
        assert router.register(engine.port).status_code == 200
    bad.fault(cut="before-head")
    answer = router.post("/v1/embeddings", {"input": "a"})
    assert (answer.status_code, answer.headers["x-engine"]) == (200, good.name)
    assert bad.stats()["broken_off"] == 1
    assert router.metrics().value("fd_router_retries_total") == 1


def test_a_broken_stream_ends_as_each_protocol_tells_of_errors(
    start_router: StartRouter, raw_worker: MakeWorker
) -> None:
    def answer(peer: Peer) -> None:
        event = b'data: {"type":"x"}\n\n'
        peer.send(sse_head("transfer-encoding: chunked") + b"%x\r\n%b\r\n" % (len(event), event))
        peer.close()

    router = start_router(SILENT)
    assert router.register(raw_worker(answer).port).status_code == 200
    ends = {}
    for path in ("/v1/messages", "/v1/responses"):
        with router.stream(path, {"input": "a", "stream": True}) as streamed:
            ends[path] = b"".join(streamed.iter_raw()).split(b"\n\n")[1].decode()
    name, data = ends["/v1/messages"].split("\n")
    assert name == "event: error"
    told = json.loads(data.removeprefix("data: "))
    assert told["type"] == "error"
    assert told["error"]["message"].startswith("worker failed: ")
    assert json.loads(ends["/v1/responses"].removeprefix("data: ")) == {"error": told["error"]}


# ---- PD mode


def test_pd_mode_asks_workers_that_say_so(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router("server: {extra-paths: [/v2/embed], error-format: openai}", "--splitwise")
    start_engine(router, role="prefill", name="p")
    start_engine(router, role="decode", name="d", endpoints="/tokenize,/v2/embed")
    start_engine(router, role="mixed", name="e", endpoints="/v1/embeddings,/tokenize")
    router.wait_workers(prefill=1, decode=1, mixed=1)
    answered = {router.post("/tokenize", {"prompt": "a"}).headers["x-engine"] for _ in range(4)}
    assert answered <= {"d", "e"}
    for path, name in [("/v1/embeddings", "e"), ("/v2/embed", "d")]:
        answer = router.post(path, {"input": "a"})
        assert (answer.status_code, answer.headers["x-engine"]) == (200, name)
    refused = router.post("/v1/rerank", {"query": "a"})
    assert (refused.status_code, refused.json()) == (
        501,
        {
            "error": {
                "message": "no worker serves /v1/rerank in PD mode: "
                "one must be registered with it in its endpoints",
                "type": "router_error",
                "code": "endpoint_unserved",
            }
        },
    )
    # Completions are for pairs, as before.
    assert router.chat("hello", max_tokens=2).headers["x-router-prefill-url"]
    assert [item["endpoints"] for item in router.registered()["mixed"]] == [["/v1/embeddings", "/tokenize"]]


def test_one_that_is_lost_is_missed_and_no_stranger(
    start_router: StartRouter, start_engine: StartEngine
) -> None:
    router = start_router("manager: {health-check-interval-secs: 0.2}", "--splitwise")
    engine = start_engine(router, role="mixed", endpoints="/tokenize")
    router.wait_workers(mixed=1)
    assert router.post("/tokenize", {"prompt": "a"}).status_code == 200
    engine.fault(health_status=503)
    router.wait_workers(mixed=0)
    answer = router.post("/tokenize", {"prompt": "a"})
    assert answer.status_code == 502
    assert answer.json()["error"].startswith("Failed to select worker: ")
    engine.heal()
    router.wait_workers(mixed=1)
    assert router.post("/tokenize", {"prompt": "a"}).status_code == 200


def test_a_retry_stays_with_those_that_serve_it(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router(SILENT, "--splitwise")
    others = [start_engine(router, role=role) for role in ("prefill", "decode")]
    serving = [start_engine(router, role="decode", endpoints="/tokenize") for _ in range(2)]
    router.wait_workers(prefill=1, decode=3)
    bad, good = sorted(serving, key=lambda engine: engine.url)
    bad.fault(cut="before-head")
    answer = router.post("/tokenize", {"prompt": "a"})
    assert (answer.status_code, answer.headers["x-engine"]) == (200, good.name)
    good.fault(cut="before-head")
    assert router.post("/tokenize", {"prompt": "a"}).status_code == 502
    assert bad.stats()["broken_off"] >= 1
    assert [engine.stats()["requests"] for engine in others] == [0, 0]


def test_an_endpoint_s_worker_serves_the_model(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router(SILENT, "--splitwise")
    for model in ("large", "small"):
        engine = start_engine(name=model, model=model)
        answer = router.register(engine.port, endpoints=["/v1/audio/transcriptions"], models=[model])
        assert answer.status_code == 200
    for model in ("small", "large", "small"):
        sent = {"files": {"file": ("a.wav", WAV, "audio/wav")}, "data": {"model": model}}
        answer = router.post("/v1/audio/transcriptions", **sent)
        assert (answer.status_code, answer.headers["x-engine"]) == (200, model)
    sent = {"files": {"file": ("a.wav", WAV, "audio/wav")}, "data": {"model": "tiny"}}
    refused = router.post("/v1/audio/transcriptions", **sent)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("endpoints", "message"),
    [
        (["tokenize"], "invalid InstanceInfo format:invalid endpoint: tokenize"),
        (["/a?b"], "invalid InstanceInfo format:invalid endpoint: /a?b"),
        ("/tokenize", "Invalid InstanceInfo JSON format: endpoints: found string, accepted: list of strings"),
        ([], "splitwise mode only supports PREFILL/DECODE instances"),
    ],
)
def test_endpoints_that_are_none(start_router: StartRouter, endpoints: Any, message: str) -> None:
    answer = start_router(SILENT, "--splitwise").register(1, endpoints=endpoints)
    assert (answer.status_code, answer.json()["msg"]) == (400, message)


# ---- control calls


def test_control_calls_reach_every_worker_and_each_answers_for_itself(
    start_router: StartRouter, start_engine: StartEngine
) -> None:
    router = start_router(
        "server: {admin-key: secret, api-keys: [client]}", headers={"authorization": "Bearer secret"}
    )
    engines = [start_engine(), start_engine()]
    for engine in engines:
        assert router.register(engine.port).status_code == 200
    # One that sleeps may fail its probes; it must hear that it is to wake up.
    engines[1].fault(health_status=503)
    router.wait_workers(mixed=1)
    urls = sorted(engine.url for engine in engines)

    early = router.post("/v1/update_weights", {"version": "v2"})
    assert (early.status_code, early.json()["status"]) == (502, "error")
    assert {each["status"] for each in early.json()["workers"]} == {500}
    router.wait_log(r"control: POST /v1/update_weights passed on to 2 workers, 2 of them failed")
    for method, target in [
        ("POST", "/v1/pause"),
        ("GET", "/v1/is_paused"),
        ("POST", "/v1/update_weights"),
        ("POST", "/v1/sleep?tags=weight,kv_cache"),
        ("POST", "/v1/wakeup?tags=weight"),
        ("POST", "/v1/resume"),
    ]:
        answer = router.client.request(method, target, json={"version": "v2"} if "update" in target else None)
        assert (answer.status_code, answer.json()["status"]) == (200, "success"), target
        workers = answer.json()["workers"]
        assert sorted(each["url"] for each in workers) == urls
        assert {each["answer"]["status"] for each in workers} == {"success"}
        if target == "/v1/is_paused":
            assert [each["answer"]["result"] for each in workers] == [{"is_paused": True}] * 2
    for engine in engines:
        orders = engine.stats()["orders"]
        assert orders[0] == "/v1/update_weights"
        assert orders[-3:] == ["/v1/sleep?tags=weight,kv_cache", "/v1/wakeup?tags=weight", "/v1/resume"]
    for path in ("/update_model_weight", "/clear_load_weight"):
        answer = router.get(path)
        assert (answer.status_code, [each["status"] for each in answer.json()["workers"]]) == (502, [404] * 2)
    head = router.client.head("/clear_load_weight")
    assert (head.status_code, head.headers["allow"]) == (200, "GET, HEAD")
    refused = router.post("/v1/pause", headers={"authorization": "Bearer client"})
    assert refused.status_code == 401
    assert all(not engine.stats()["paused"] for engine in engines)


def test_a_control_call_without_an_engine(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router("manager: {health-check-interval-secs: 3600, control-timeout-secs: 0.3}")
    nobody = router.post("/v1/pause")
    assert (nobody.status_code, nobody.json()) == (502, {"error": "no worker is registered"})
    engine = start_engine()
    assert router.register(engine.port).status_code == 200
    engine.suspend()
    silent = router.post("/v1/pause").json()
    engine.resume()
    assert silent["workers"] == [{"url": engine.url, "role": "mixed", "error": "no answer within 0.3 s"}]


@pytest.mark.parametrize("path", ["/v1/update_weights", "/v1/sleep", "/v1/wakeup"])
def test_new_weights_make_a_cache_worthless(
    start_router: StartRouter, start_engine: StartEngine, path: str
) -> None:
    router = start_router("scheduler: {policy: cache_aware, cache-block-size: 16}")
    engine = start_engine()
    assert router.register(engine.port).status_code == 200

    def hits() -> str:
        router.forget_log()
        assert router.chat("The same long beginning of many prompts.", max_tokens=1).status_code == 200
        return router.wait_log(r"hitRatios=(map\[\S*\])")[1]

    assert hits() == "map[]."[:-1]
    assert re.fullmatch(r"map\[http\S+:\d+\]", hits())
    router.post("/v1/pause")
    assert hits() != "map[]", "a pause leaves the cache"
    assert router.post(path).status_code == 200
    assert hits() == "map[]"


# ---- CORS


def test_pages_of_named_origins_may_ask(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router('server: {cors-origins: ["https://a.example"], api-keys: [k]}')
    engine = start_engine()
    assert router.register(engine.port).status_code == 200
    key = {"authorization": "Bearer k"}
    page = {"origin": "https://a.example"}
    asked = router.client.options(
        CHAT,
        headers={
            **page,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        },
    )
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == "https://a.example"
    assert asked.headers["access-control-allow-methods"] == "POST"
    assert asked.headers["access-control-allow-headers"] == "authorization,content-type"
    for stream in (False, True):
        answer = router.post(CHAT, chat_body("x", stream=stream, max_tokens=2), headers={**page, **key})
        assert answer.status_code == 200
        assert answer.headers.get_list("access-control-allow-origin") == ["https://a.example"]
        assert answer.headers["vary"] == "Origin"
    assert engine.seen()[-1].header("origin") == []
    # An error is to be read as well.
    refused = router.post(CHAT, chat_body("x"), headers=page)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, page["origin"])
    stranger = router.post(CHAT, chat_body("x", max_tokens=1), headers={"origin": "https://b.example", **key})
    assert "access-control-allow-origin" not in stranger.headers
    # No page gives orders.
    order = router.client.options("/v1/pause", headers=page)
    assert (order.status_code, "access-control-allow-origin" in order.headers) == (404, False)


def test_without_origins_there_is_no_cors(start_router: StartRouter, raw_worker: MakeWorker) -> None:
    router = start_router(SILENT)
    worker = raw_worker(lambda _: reply(b"{}", 200, "access-control-allow-origin: *"))
    assert router.register(worker.port).status_code == 200
    page = {"origin": "https://a.example"}
    assert router.client.options(CHAT, headers=page).status_code == 404
    answer = router.post(CHAT, chat_body("x"), headers=page)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert worker.hits[0].header("origin") == ["https://a.example"]


# ---- errors in the shape that people see


def test_the_message_of_an_error_reaches_people(start_router: StartRouter) -> None:
    """What official clients print is `str()` of the exception."""
    shown = {}
    for shape in ("go", "openai"):
        router = start_router(f"server: {{error-format: {shape}}}")
        with router.openai() as client, pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="mock", messages=[{"role": "user", "content": "x"}])
        shown[shape] = caught.value
    said = "Failed to select worker: no healthy workers available"
    assert said in str(shown["openai"])
    assert (shown["openai"].code, shown["openai"].type) == ("no_worker", "router_error")
    assert shown["go"].code is None
    assert shown["go"].response.json() == {"error": said}


def test_only_clients_get_the_other_shape(start_router: StartRouter) -> None:
    router = start_router(
        "server: {error-format: openai, admin-key: a, api-keys: [k]}", headers={"authorization": "Bearer a"}
    )
    stranger = {"authorization": "Bearer b"}
    assert router.get("/v1/models", headers=stranger).json()["error"]["code"] == "unauthorized"
    assert router.get("/metrics", headers=stranger).json() == {"error": "the key is not accepted"}
    assert router.post("/unregister", {}, headers=stranger).json()["code"] == 401


def test_a_pair_s_error_has_its_id_in_both_shapes(start_router: StartRouter) -> None:
    router = start_router("server: {error-format: openai}", "--splitwise")
    answer = router.chat("x", request_id="r1")
    assert answer.status_code == 503
    assert answer.json() == {
        "error": {
            "message": "No available prefill/decode workers",
            "type": "router_error",
            "code": "no_pair",
        },
        "request_id": "r1",
    }


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
def test_head_is_get_without_a_body(router: Router, path: str) -> None:
    asked = router.client.head(path)
    assert (asked.status_code, asked.content) == (200, b"")
    assert asked.headers["content-type"] == router.get(path).headers["content-type"]


def test_head_of_a_router_that_is_not_ready(start_router: StartRouter) -> None:
    assert start_router().client.head("/ready").status_code == 503


def test_a_path_of_the_router_s_own_is_refused_at_start(stage: Stage) -> None:
    config = stage.folder / "config.yaml"
    config.write_text("server: {port: 1, host: 127.0.0.1, extra-paths: [/register]}")
    for more in ((), ("--check",)):
        ended = stage.run_router("--config_path", str(config), *more)
        assert ended.returncode == 1
        assert "server.extra-paths: /register is served already" in ended.stdout + ended.stderr
