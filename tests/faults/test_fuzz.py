"""Anything at all, sent to a running router by clients, by engines that register, and by workers that answer.

Whatever comes, the router answers no 500 of its own, its worker process lives, and its counters go back to 0.
`FAULTS_FULL=1` tries twenty times as much.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rig import Stage, reply
from rig.router import chat_body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig import Peer, RawWorker, Router

EXAMPLES = 2_000 if os.environ.get("FAULTS_FULL") else 100
CONFIG = """
server: {header-timeout-secs: 5, body-timeout-secs: 5, splitwise: %s}
manager: {health-check-interval-secs: 3600, health-check-timeout-secs: 0.5, eject-after-failures: 0}
upstream: {first-byte-timeout-secs: 2, idle-timeout-secs: 2, attempts: 1, pair-attempts: 1}
"""
CHAT = "/v1/chat/completions"
PATHS = st.sampled_from(
    [CHAT, "/v1/completions", "/register", "/unregister", "/v1/abort_requests", "/x", "*"]
)

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


class Fuzzed:
    """A router with workers whose answer is what `say` is at the time."""

    def __init__(self, stage: Stage, *roles: str) -> None:
        self.say: bytes = reply(b"{}")
        self.router: Router = stage.start_router(CONFIG % ("true" if len(roles) > 1 else "false"))
        self.workers: list[RawWorker] = []
        for role in roles:
            worker = stage.raw_worker(self._answer)
            self.workers.append(worker)
            registered = self.router.register(worker.port, role, connector_port=1)
            assert registered.status_code == 200, registered.text

    def _answer(self, peer: Peer) -> None:
        peer.send(self.say)
        peer.close()

    def check(self) -> None:
        """After all of it the router is what it was."""
        self.say = reply(b"{}")
        self.router.assert_same_worker()
        self.router.assert_idle()
        metrics = self.router.metrics()
        assert metrics.value("fd_router_rejected_requests_total", code="internal") == 0
        assert metrics.value("fd_router_upstream_exchanges") == 0
        assert metrics.value("http_requests_total", status_code="500") == 0
        log = self.router.settled_log()
        assert "Traceback" not in log
        assert "Panic" not in log
        assert self.router.chat("sound").status_code == 200


@contextmanager
def fuzzed(folder: Any, *roles: str) -> Iterator[Fuzzed]:
    stage = Stage(folder)
    try:
        scene = Fuzzed(stage, *roles)
        yield scene
        scene.check()
    finally:
        stage.close()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    with fuzzed(tmp_path_factory.mktemp("mixed"), "mixed") as scene:
        yield scene


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    with fuzzed(tmp_path_factory.mktemp("split"), "prefill", "decode") as scene:
        yield scene


# ---- clients

NAMES = st.sampled_from(
    [
        *("model", "messages", "prompt", "stream", "request_id", "session_id", "req_id", "extra_body"),
        *("disaggregate_info", "prompt_token_ids", "tools", "role", "content", "text", "type"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)
BODIES = st.dictionaries(NAMES, VALUES, max_size=6).map(lambda value: json.dumps(value).encode())
DAMAGED = st.tuples(BODIES, st.integers(0, 200), st.binary(max_size=4)).map(
    lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :]
)


def post(scene: Fuzzed, path: str, body: bytes) -> httpx.Response:
    answer = scene.router.post(path, content=body)
    assert answer.status_code in (200, 400, 404, 502), (answer.status_code, answer.text)
    assert answer.status_code == 404 or isinstance(answer.json(), dict)
    return answer


@fuzz
@given(path=PATHS.filter(lambda path: path.startswith("/v1")), body=BODIES | DAMAGED | st.binary(max_size=50))
@example(CHAT, b'{"request_id": ""}')
@example(CHAT, b'{"request_id": "\\ud800", "session_id": "[\\n]"}')
def test_bodies(mixed: Fuzzed, path: str, body: bytes) -> None:
    post(mixed, path, body)


@fuzz
@given(body=BODIES | DAMAGED)
@example(b'{"request_id": {"a": 1}, "request_id": "", "disaggregate_info": 1}')
def test_bodies_of_pairs(split: Fuzzed, body: bytes) -> None:
    answer = post(split, CHAT, body)
    if answer.status_code == 200:
        # Prefill may not have had its part when decode has answered already.
        sent = json.loads(split.workers[1].hits[-1].body)
        assert sent["request_id"] not in ("", None)
        assert set(sent["disaggregate_info"]) >= {"prefill_ip", "decode_ip", "transfer_protocol"}


FIELD = st.from_regex(rb"[A-Za-z0-9_-]{1,12}", fullmatch=True) | st.sampled_from(
    [
        *(
            b"host",
            b"content-length",
            b"transfer-encoding",
            b"content-encoding",
            b"content-type",
            b"connection",
        ),
        *(b"expect", b"te", b"upgrade", b"accept-encoding", b"x_bd_logid", b"x-fd-router-hop"),
    ]
)
KNOWN = (b"0", b"5", b"chunked", b"gzip", b"a", b"close", b"100-continue")
FIELD_VALUE = st.binary(max_size=20) | st.sampled_from(KNOWN)
TARGET = st.tuples(PATHS.map(str.encode), st.binary(max_size=12)).map(
    lambda parts: parts[0] + b"?" + parts[1]
)
METHOD = st.sampled_from([b"POST", b"GET", b"HEAD", b"PUT", b"CONNECT", b"OPTIONS", b"BREW"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A head with what may stand in one, and a body that may not fit it."""
    lines = [b"%s %s HTTP/1.1" % (draw(METHOD), draw(TARGET))]
    lines += draw(st.sampled_from([[b"host: a"], [b"host: a"], []]))
    lines += [b"%s: %s" % pair for pair in draw(st.lists(st.tuples(FIELD, FIELD_VALUE), max_size=5))]
    body = draw(BODIES | st.binary(max_size=30))
    if draw(st.booleans()):
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@fuzz
@given(data=requests() | st.binary(max_size=100))
@example(b"POST /v1/chat/completions?\xc3\xa9 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}")
@example(b'POST /v1/chat/completions?\xff{}|"` HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}')
@example(b"POST http://b/v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}")
@example(b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-a: \xe9\r\ncontent-length: 2\r\n\r\n{}")
def test_raw_requests(mixed: Fuzzed, data: bytes) -> None:
    """The client closes its direction, so that whatever it is, something must become of it."""
    with mixed.router.raw() as client:
        client.send(data)
        client.socket.shutdown(1)
        answers = client.read_to_end()
    assert b"HTTP/1.1 500" not in answers
    assert answers == b"" or answers.startswith((b"HTTP/1.1 ", b"HTTP/1.0 "))


# ---- engines that register

PORTS = st.integers(-1, 70_000).filter(lambda port: not 1 <= port <= 65_535) | st.text(max_size=6) | SCALARS
"""None of them is a port that anybody could be asked on."""
ADDRESSES = st.sampled_from(
    ["127.0.0.1", "::1", "[::1]", "localhost", "", "127.0.0.1:80", "http://127.0.0.1", "a b"]
)
INSTANCE = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["mixed", "MIXED", 0, 7, None, "prefill", "", [], {}]) | SCALARS,
        "host_ip": ADDRESSES | st.integers() | st.none() | st.lists(SCALARS, max_size=2),
        "port": st.just(1) | PORTS,
        "connector_port": PORTS,
        "metrics_port": PORTS,
        "rdma_ports": VALUES,
        "transfer_protocol": VALUES,
        "device_ids": VALUES,
        "tp_size": SCALARS,
        "url": SCALARS,
    },
)


@fuzz
@given(
    path=st.sampled_from(["/register", "/unregister"]),
    body=INSTANCE.map(lambda instance: json.dumps(instance).encode()) | st.binary(max_size=40) | BODIES,
)
def test_orders(mixed: Fuzzed, path: str, body: bytes) -> None:
    """Addresses are of loopback only, and the one port that is one answers nobody."""
    answer = mixed.router.post(path, content=body)
    assert answer.status_code in (400, 404, 503), (answer.status_code, answer.text)
    assert answer.json().keys() == {"code", "msg"}
    assert answer.json()["code"] == answer.status_code
    assert mixed.router.numbers() == {"mixed": 1, "prefill": 0, "decode": 0}


# ---- workers that answer


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """The bytes of an answer that is nearly one."""
    status = draw(st.integers(0, 1000).filter(lambda status: status != 500))
    lines = [draw(st.sampled_from([b"HTTP/1.1 %d X", b"HTTP/1.0 %d", b"HTTP/2 %d X", b"ICY %d OK"])) % status]
    fields = st.tuples(FIELD.filter(lambda name: name != b"expect"), FIELD_VALUE)
    lines += [b"%s: %s" % pair for pair in draw(st.lists(fields, max_size=4))]
    kinds = [b"text/event-stream", b"application/json", b"", b"Text/Event-Stream;x"]
    lines.append(b"content-type: " + draw(st.sampled_from(kinds)))
    body = draw(
        st.binary(max_size=30) | st.sampled_from([b"data: 1\n\n", b"2\r\nab\r\n0\r\n\r\n", b"zz\r\n"])
    )
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@fuzz
@given(data=answers() | st.binary(max_size=60), stream=st.booleans())
@example(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", True)
@example(b"HTTP/1.1 100 Continue\r\n\r\n", True)
@example(b"HTTP/1.1 204 X\r\ncontent-length: 5\r\n\r\nhello", False)
@example(b"HTTP/1.1 304 X\r\ncontent-length: 5\r\n\r\n", False)
@example(b"HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n", False)
def test_answers(mixed: Fuzzed, data: bytes, stream: bool) -> None:
    mixed.say = data
    with mixed.router.raw() as client:
        client.post(CHAT, json.dumps(chat_body("hello", stream=stream)).encode(), "connection: close")
        got = client.read_to_end()
    assert got.startswith(b"HTTP/1.1 ")
    assert not got.startswith(b"HTTP/1.1 500")


SSE = 'data: {"n":"é"}\n\ndata: 2\r\n\r\n: c\r\rid: 3\ndata: [DONE]\n\n'.encode()


def sse_cut(at: int, coding: str) -> bytes:
    """A stream that was announced whole, and ends after so many bytes."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{coding}\r\n\r\n".encode()
    return head + (SSE[:at] if "length" in coding else b"%x\r\n%s\r\n" % (at, SSE[:at]) if at else b"")


@pytest.mark.parametrize("coding", [f"content-length: {len(SSE)}", "transfer-encoding: chunked"])
def test_streams_cut_at_every_byte(mixed: Fuzzed, coding: str) -> None:
    """What came is passed on, and one event follows it, in a frame of its own."""
    for at in range(1, len(SSE)):
        mixed.say = sse_cut(at, coding)
        with mixed.router.raw() as client:
            client.post(CHAT, json.dumps(chat_body("hello", stream=True)).encode(), "connection: close")
            answer = client.read_to_end()
        assert answer.startswith(b"HTTP/1.1 200 ")
        body = answer.partition(b"\r\n\r\n")[2]
        if "length" in coding:
            # There is no room for an event in the length that was announced: the connection is cut.
            assert body == SSE[:at]
            continue
        body = unchunked(body)
        assert body.startswith(SSE[:at])
        frames = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n")
        assert frames[-1] == b""
        assert (
            json.loads(frames[-2].lstrip(b"\n").removeprefix(b"data: "))["error"]["code"] == "reset_mid_body"
        )


def unchunked(body: bytes) -> bytes:
    """A chunked body, which must be whole."""
    whole = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            assert body == b"\r\n"
            return whole
        whole += body[:length]
        assert body[length : length + 2] == b"\r\n"
        body = body[length + 2 :]
