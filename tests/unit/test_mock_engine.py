"""The mock engine as a router and a test meet it: over sockets."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from rig import RawClient, black_hole, reply, wait_for
from rig.exposition import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Engine, Peer, RawWorker

    StartEngine = Callable[..., Engine]


def encode(fields: dict[str, Any]) -> bytes:
    return json.dumps({"prompt": "hello", "max_tokens": 5, **fields}).encode()


def ask(engine: Engine, **fields: Any) -> httpx.Response:
    return httpx.post(f"{engine.url}/v1/completions", content=encode(fields), timeout=20, trust_env=False)


def events(text: str) -> list[Any]:
    frames = text.removesuffix("\n\n").split("\n\n")
    assert frames[-1] == "data: [DONE]"
    return [json.loads(frame.removeprefix("data: ")) for frame in frames[:-1]]


def raw_ask(engine: Engine, **fields: Any) -> RawClient:
    client = RawClient("127.0.0.1", engine.port)
    try:
        client.post("/v1/completions", encode(fields))
    except OSError:
        client.close()
        raise
    return client


def test_answers_name_the_engine_and_repeat(start_engine: StartEngine) -> None:
    engine = start_engine(name="e1", token_secs=0)
    messages = [{"role": "user", "content": "hello"}]
    unary, streamed = (
        httpx.post(f"{engine.url}/v1/chat/completions", json={"messages": messages, "max_tokens": 4, **more})
        for more in ({}, {"stream": True, "stream_options": {"include_usage": True}})
    )
    text = unary.json()["choices"][0]["message"]["content"]
    assert text.startswith("e1:")
    assert unary.headers["x-engine"] == unary.json()["system_fingerprint"] == "e1"
    chunks = events(streamed.text)
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks if chunk["choices"]) == text
    assert chunks[-1]["usage"]["completion_tokens"] == 4
    assert ask(engine).json()["object"] == "text_completion"
    assert ask(engine, prompt={}).status_code == 400
    assert httpx.get(f"{engine.url}/v1/models").json()["data"][0]["id"] == "mock"
    assert httpx.get(f"{engine.url}/nope").status_code == 404
    assert engine.stats()["finished"] == 3
    assert engine.stop() == 0


def test_usage_reports_the_modelled_cache(start_engine: StartEngine) -> None:
    engine = start_engine(block_size=4, cache_blocks=2, token_secs=0)
    prompts = ["aaaabbbbcc", "aaaabbbbdd", "zzzzyyyy", "aaaabbbb"]
    usages = [ask(engine, prompt=prompt).json()["usage"] for prompt in prompts]
    assert [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages] == [0, 8, 0, 0]
    metrics = Metrics.parse(httpx.get(f"{engine.url}/metrics").text)
    assert metrics.value("fastdeploy:hit_token_rate") == pytest.approx(8 / 36)
    assert metrics.value("fastdeploy:available_gpu_block_num") == 2


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/completions", {"prompt": "aaaabbbbcccc"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "ab"}]}),
    ],
)
def test_usage_is_in_whole_answers_and_in_streams_that_ask(
    start_engine: StartEngine, path: str, asked: dict[str, Any]
) -> None:
    engine = start_engine(block_size=4, token_secs=0)
    stream = {"stream": True}
    cold, warm, counted, plain = (
        httpx.post(f"{engine.url}{path}", json={**asked, "max_tokens": 2, **more})
        for more in ({}, {}, {**stream, "stream_options": {"include_usage": True}}, stream)
    )
    details = [whole.json()["usage"]["prompt_tokens_details"] for whole in (cold, warm)]
    assert details == [{"cached_tokens": 0}, {"cached_tokens": 8}]
    *chunks, last = events(counted.text)
    assert (last["choices"], last["usage"]) == ([], warm.json()["usage"])
    assert not any("usage" in chunk for chunk in (*chunks, *events(plain.text)))


def test_batch_queue_and_abort(start_engine: StartEngine) -> None:
    engine = start_engine(max_batch=1, max_queue=1, token_secs=0.005)
    with raw_ask(engine, request_id="r1", max_tokens=100_000) as first:
        engine.wait_stats(running=1)
        with raw_ask(engine, request_id="r2") as second:
            engine.wait_stats(waiting=1)
            metrics = Metrics.parse(httpx.get(f"{engine.url}/metrics").text)
            assert metrics.value("fastdeploy:num_requests_running") == 1
            assert metrics.value("fastdeploy:num_requests_waiting") == 1
            refused = ask(engine)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            body = {"req_ids": ["r1", "r9"]}
            aborted = httpx.post(f"{engine.url}/v1/abort_requests", json=body).json()
            assert (aborted["aborted"], aborted["not_found"]) == (["r1"], ["r9"])
            assert b'"finish_reason":"abort"' in first.read_until(b'"usage"')
            assert b'"finish_reason":"length"' in second.read_until(b'"usage"')
    assert httpx.post(f"{engine.url}/v1/abort_requests", json={}).status_code == 400


def test_what_runs_keeps_its_blocks(start_engine: StartEngine) -> None:
    engine = start_engine(block_size=4, cache_blocks=3, token_secs=0.005, name="e1")
    with raw_ask(engine, prompt="aaaabbbbc", stream=True, max_tokens=100_000) as first:
        first.read_until(b"e1:")
        # The third block goes from one to the other.
        for prompt in ("zzzz", "yyyy"):
            assert ask(engine, prompt=prompt).status_code == 200
        cached = ask(engine, prompt="aaaabbbbc").json()["usage"]["prompt_tokens_details"]
        assert cached == {"cached_tokens": 8}
        with raw_ask(engine, prompt="ddddeeeef", stream=True) as second:
            second.read_until(b"\r\n\r\n")
            engine.wait_stats(running=2, cached_blocks=3)
            assert b"e1:" not in second.received
            first.close()
            second.read_until(b"[DONE]")
    assert ask(engine, prompt="aaaa" * 4).status_code == 400


def test_prompts_one_at_a_time_and_frames_of_several_tokens(start_engine: StartEngine) -> None:
    engine = start_engine(
        block_size=4, block_secs=0.1, max_prefills=1, token_secs=0, stream_interval=4, name="e1"
    )
    with (
        raw_ask(engine, prompt="a", stream=True) as first,
        raw_ask(engine, prompt="bbbbccccd", stream=True, max_tokens=6) as second,
    ):
        started = time.monotonic()
        second.read_until(b"[DONE]")
        # One block and three, one after the other.
        assert time.monotonic() - started > 0.35
        assert b"[DONE]" in first.read_until(b"[DONE]")
    texts = [
        choice["text"]
        for event in re.findall(rb"data: (\{.*\})", second.received)
        for choice in json.loads(event)["choices"]
    ]
    assert [len(text.split()) for text in texts] == [1, 4, 1, 0]


@pytest.mark.parametrize("stream", [True, False])
def test_generation_stops_when_the_client_leaves(start_engine: StartEngine, stream: bool) -> None:
    engine = start_engine(token_secs=0.005)
    with raw_ask(engine, stream=stream, max_tokens=1_000_000):
        engine.wait_stats(running=1)
    engine.wait_stats(running=0, aborted=1)


def test_record_keeps_the_raw_bytes(start_engine: StartEngine) -> None:
    engine = start_engine(token_secs=0)
    body = b'{ "prompt":"h\\u00e9",  "seed": 9007199254740993 }'
    with RawClient("127.0.0.1", engine.port) as client:
        client.post("/v1/completions?a=1", body, "X-Foo: 1", "x-foo: 2")
        client.read_until(b'"usage"')
    seen = engine.seen()[-1]
    assert (seen.target, seen.body, seen.header("X-Foo")) == ("/v1/completions?a=1", body, ["1", "2"])


@pytest.mark.parametrize(
    ("faults", "received"),
    [
        ({"cut": "before-head"}, rb""),
        ({"cut": "before-head", "cut_how": "reset"}, rb""),
        ({"cut": "after-head"}, rb"HTTP/1.1 200 .*\r\n\r\n"),
        ({"cut": "first-token"}, rb"HTTP/1.1 200 .*\r\n\r\n[0-9a-f]+\r\ndata: [^\n]*\n\n\r\n"),
        (
            {"cut": "mid-stream", "cut_chunks": 3},
            rb"HTTP/1.1 200 .*\r\n\r\n([0-9a-f]+\r\ndata: [^\n]*\n\n\r\n){3}",
        ),
        (
            {"cut": "mid-frame", "cut_chunks": 1},
            rb"HTTP/1.1 200 .*\n\n\r\n[0-9a-f]+\r\ndata: [^\n]*[^\n]\r\n",
        ),
        (
            {"cut": "mid-char", "cut_chunks": 1, "cut_how": "reset"},
            rb"HTTP/1.1 200 .*\n\n\r\n[0-9a-f]+\r\ndata: .*\xc3\r\n",
        ),
        ({"connect": "reset"}, rb""),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_faults_cut_where_they_say(
    start_engine: StartEngine, faults: dict[str, object], received: bytes
) -> None:
    engine = start_engine(token_secs=0)
    engine.fault(**faults)
    try:
        with raw_ask(engine, stream=True) as client:
            data = client.read_to_end()
    except ConnectionError:
        data = b""
    assert re.fullmatch(received, data, re.DOTALL), data
    engine.heal()
    assert ask(engine).status_code == 200


@pytest.mark.parametrize("cut", ["before-head", "after-head", "first-token", "mid-stream"])
def test_stalls_hold_the_connection_open(start_engine: StartEngine, cut: str) -> None:
    engine = start_engine(token_secs=0, faults={"cut": cut, "cut_how": "stall"})
    with raw_ask(engine, stream=True) as client:
        engine.wait_stats(requests=1)
        client.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.read_to_end()
    engine.wait_stats(aborted=1)


def test_refused_then_back_on_the_same_port(start_engine: StartEngine) -> None:
    engine = start_engine(faults={"connect": "refuse"})
    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            ask(engine)
        engine.heal()
        assert ask(engine).status_code == 200
        engine.fault(connect="refuse")


def test_accepted_and_never_read(start_engine: StartEngine) -> None:
    engine = start_engine(token_secs=0, faults={"connect": "hang"})
    with raw_ask(engine) as client:
        engine.wait_stats(connections=1)
        client.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.read_to_end()
    assert engine.stats()["requests"] == 0


def test_faults_of_health_and_status(start_engine: StartEngine) -> None:
    engine = start_engine(token_secs=0)
    engine.fault(
        health_status=503, status=429, status_body='{"a":1}', status_headers={"retry-after": "7"}, times=1
    )
    assert httpx.get(f"{engine.url}/health").status_code == 503
    assert engine.control.get("/health").status_code == 200
    refused = ask(engine)
    assert (refused.status_code, refused.content, refused.headers["retry-after"]) == (429, b'{"a":1}', "7")
    assert ask(engine).status_code == 200
    engine.fault(health_hang=True)
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{engine.url}/health", timeout=0.2)
    assert engine.control.post("/mock/fault", json={"cut": "x"}).status_code == 400


def test_faults_of_length_and_size(start_engine: StartEngine) -> None:
    engine = start_engine(token_secs=0)
    engine.fault(length_off=10)
    with pytest.raises(httpx.RemoteProtocolError):
        ask(engine)
    engine.heal()
    engine.fault(token_bytes=100_000, trickle_bytes=65_536)
    assert len(ask(engine, max_tokens=2).json()["choices"][0]["text"].encode()) == 200_000
    frames = events(ask(engine, max_tokens=2, stream=True).text)
    assert [len(frame["choices"][0]["text"].encode()) for frame in frames] == [100_000, 100_000, 0]


def test_idle_connections_are_closed(start_engine: StartEngine) -> None:
    engine = start_engine(token_secs=0, faults={"idle_secs": 0.05})
    with raw_ask(engine) as client:
        client.read_until(b'"usage"')
        client.read_to_end()


def test_registers_while_healthy(start_engine: StartEngine, raw_worker: Callable[..., RawWorker]) -> None:
    bodies: list[dict[str, Any]] = []

    def register(peer: Peer) -> bytes:
        bodies.append(json.loads(peer.body))
        return reply(b'{"code":200}')

    router = raw_worker(register)
    engine = start_engine(router, register_secs=0.02, role="prefill", metrics_port=0)
    wait_for(lambda: len(bodies) >= 2)
    assert router.hits[0].path == "/register"
    assert (bodies[0]["role"], bodies[0]["port"]) == ("prefill", engine.port)
    assert set(bodies[0]) == {
        "role", "host_ip", "port", "metrics_port", "connector_port", "rdma_ports",
        "engine_worker_queue_port", "device_ids", "transfer_protocol", "tp_size",
    }  # fmt: skip
    assert bodies[0]["metrics_port"] != engine.port
    assert httpx.get(f"http://127.0.0.1:{bodies[0]['metrics_port']}/metrics").status_code == 200
    engine.fault(health_status=500)
    # One registration may be under way; after that there are none while the engine calls itself unhealthy.
    probes = engine.stats()["probes"]
    wait_for(lambda: engine.stats()["probes"] >= probes + 2)
    registered = len(bodies)
    wait_for(lambda: engine.stats()["probes"] >= probes + 5)
    assert len(bodies) == registered
    engine.heal()
    wait_for(lambda: len(bodies) > registered)


class Pair:
    """A prefill and a decode engine, and what a router would send to both."""

    def __init__(
        self, start_engine: StartEngine, raw_worker: Callable[..., RawWorker], **flags: object
    ) -> None:
        bodies: dict[str, dict[str, Any]] = {}

        def register(peer: Peer) -> bytes:
            body = json.loads(peer.body)
            bodies[body["role"]] = body
            return reply(b"{}")

        router = raw_worker(register)
        flags = {"register_secs": 0.02, "token_secs": 0, "block_size": 4, **flags}
        self.prefill = start_engine(router, role="prefill", **flags)
        self.decode = start_engine(router, role="decode", **flags)
        wait_for(lambda: len(bodies) == 2)
        self.info: dict[str, Any] = {
            "prefill_ip": "127.0.0.1",
            "decode_ip": "127.0.0.1",
            "prefill_connector_port": bodies["prefill"]["connector_port"],
            "decode_connector_port": bodies["decode"]["connector_port"],
            "decode_device_ids": bodies["decode"]["device_ids"],
            "decode_rdma_ports": bodies["decode"]["rdma_ports"],
            "transfer_protocol": "ipc",
            "decode_tp_size": 1,
        }

    def fields(self, **more: Any) -> dict[str, Any]:
        return {"prompt": "hello world", "request_id": "r1", "disaggregate_info": self.info, **more}


def test_pair_hands_the_kv_over(start_engine: StartEngine, raw_worker: Callable[..., RawWorker]) -> None:
    pair = Pair(start_engine, raw_worker)
    for turn, cached in enumerate((0, 8)):
        with raw_ask(pair.decode, **pair.fields()) as decode:
            pair.decode.wait_stats(requests=turn + 1, kv_received=turn)
            prefill = ask(pair.prefill, **pair.fields())
            answer = decode.read_until(b"}}}")
        assert prefill.json()["usage"]["completion_tokens"] == 1
        assert b'"cached_tokens":%d}' % cached in answer
        assert b'"text":"%b:' % pair.decode.name.encode() in answer
    fields = pair.fields(stream=True, stream_options={"include_usage": True})
    with raw_ask(pair.decode, **fields) as decode:
        *streamed, last = events(ask(pair.prefill, **fields).text)
        answer = decode.read_until(b"[DONE]")
    assert [event["choices"][0]["finish_reason"] for event in streamed] == [None, "length"]
    assert last["usage"]["prompt_tokens_details"] == {"cached_tokens": 8}
    assert b'"cached_tokens":8}' in answer
    assert pair.prefill.stats()["kv_sent"] == 3


def test_pair_fails_when_something_is_wrong(
    start_engine: StartEngine, raw_worker: Callable[..., RawWorker]
) -> None:
    pair = Pair(start_engine, raw_worker, kv_wait_secs=0.1)
    assert ask(pair.decode, **pair.fields()).status_code == 504
    assert ask(pair.decode).status_code == 400
    wrong = {**pair.info, "decode_tp_size": 2}
    refused = ask(pair.decode, **pair.fields(disaggregate_info=wrong))
    assert refused.status_code == 400
    assert "decode_tp_size is 2" in refused.json()["message"]
    assert ask(pair.prefill, **pair.fields(seed=1)).status_code == 200
    assert "another body" in ask(pair.decode, **pair.fields(seed=2)).json()["message"]
    with black_hole() as port:
        lost = {**pair.info, "decode_connector_port": port}
        assert ask(pair.prefill, **pair.fields(disaggregate_info=lost)).status_code == 500
    pair.prefill.fault(kv="drop")
    assert ask(pair.prefill, **pair.fields()).status_code == 200
    assert ask(pair.decode, **pair.fields()).status_code == 504
