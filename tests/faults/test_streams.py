"""Answers that are streams although nobody asked for one, and streams to which nothing can be added."""

from __future__ import annotations

import gzip
import json
import threading
from typing import TYPE_CHECKING

import pytest

from rig import Stage, reply, sse_head, wait_for
from rig.router import chat_body
from rig.wait import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rig import Peer, RawWorker, Router

CHAT = "/v1/chat/completions"
EVENTS = (b'data: {"n":1}\n\n', b"data: [DONE]\n\n")
NO_ROUNDS = "manager: {health-check-interval-secs: 3600}"
TYPES = ("text/event-stream", "Text/Event-Stream; charset=utf-8", "TEXT/EVENT-STREAM")


def head(content_type: str, *more: str) -> bytes:
    """A head of an answer that ends with its connection."""
    return "\r\n".join(["HTTP/1.1 200 OK", f"content-type: {content_type}", *more, "", ""]).encode()


class OneByOne:
    """Sends an event only when the client has the one before, so that one that waits in the router is seen."""

    def __init__(self, content_type: str = TYPES[0]) -> None:
        self.seen = threading.Event()
        self._head = head(content_type, "connection: close")

    def __call__(self, peer: Peer) -> None:
        peer.send(self._head + EVENTS[0])
        assert self.seen.wait(LIMIT), "the client did not get the event"
        peer.send(EVENTS[1])
        peer.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    stage = Stage(tmp_path_factory.mktemp("streams"))
    try:
        yield stage.start_router(NO_ROUNDS)
    finally:
        stage.close()


@pytest.fixture
def router(stage: Stage, shared: Router) -> Iterator[Router]:
    """A router without workers, and with an empty log. Those of the test live until it has let them go."""
    shared.forget_log()
    yield shared
    shared.assert_idle()
    for item in shared.registered()["mixed"]:
        assert shared.post("/unregister", {"url": item["url"]}).status_code == 200


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("stream", ["1", '"true"', "1.0", '"yes"', "null"])
def test_what_the_worker_streams_is_streamed(
    router: Router, raw_worker: Callable[..., RawWorker], stream: str, content_type: str
) -> None:
    events = OneByOne(content_type)
    worker = raw_worker(events)
    assert router.register(worker.port).status_code == 200
    body = f'{{"messages":[{{"role":"user","content":"hello"}}] ,"stream": {stream}}}'.encode()
    with router.stream(CHAT, content=body) as response:
        assert response.headers["content-type"] == content_type
        pieces = response.iter_raw()
        got = next(pieces)
        while len(got) < len(EVENTS[0]):
            got += next(pieces)
        assert got == EVENTS[0]
        # The prompt is prefilled: its tokens are back while the request runs.
        wait_for(lambda: router.tokens()[worker.url] == 0)
        assert router.running()[worker.url] == 1
        events.seen.set()
        assert got + b"".join(pieces) == b"".join(EVENTS)
    assert [hit.body for hit in worker.hits] == [body]


def test_a_whole_answer_stays_in_one_piece(router: Router, raw_worker: Callable[..., RawWorker]) -> None:
    """Its status is known with its end only: a worker that breaks off in the middle of one has answered nothing."""

    def answer(peer: Peer) -> None:
        peer.send(head("application/json", "content-length: 9") + b'{"n"')
        peer.reset()

    worker = raw_worker(answer)
    assert router.register(worker.port).status_code == 200
    assert router.chat("hello", stream="true").status_code == 502


@pytest.mark.parametrize("stream", [True, 1])
def test_an_event_ends_a_broken_stream(
    router: Router, raw_worker: Callable[..., RawWorker], stream: object
) -> None:
    def answer(peer: Peer) -> None:
        peer.send(sse_head() + EVENTS[0])
        assert seen.wait(LIMIT)
        peer.reset()

    seen = threading.Event()
    worker = raw_worker(answer)
    assert router.register(worker.port).status_code == 200
    with router.stream(CHAT, chat_body("hello", stream=stream)) as response:
        pieces = response.iter_raw()
        got = next(pieces)
        seen.set()
        got += b"".join(pieces)
    event = got.removeprefix(EVENTS[0])
    assert json.loads(event.removeprefix(b"data: "))["error"]["code"] == "reset_mid_body"


@pytest.mark.parametrize("stream", [True, 1])
def test_nothing_is_added_to_a_compressed_stream(
    router: Router, raw_worker: Callable[..., RawWorker], stream: object
) -> None:
    """An event in clear would be read as part of the compressed data: the connection is cut instead."""

    def answer(peer: Peer) -> None:
        peer.send(head(TYPES[0], "content-encoding: gzip", "transfer-encoding: chunked"))
        peer.send(b"%x\r\n%s\r\n" % (len(compressed), compressed))
        assert seen.wait(LIMIT)
        peer.reset()

    seen = threading.Event()
    compressed = gzip.compress(EVENTS[0])
    worker = raw_worker(answer)
    assert router.register(worker.port).status_code == 200
    with router.raw() as client:
        client.post(CHAT, json.dumps(chat_body("hello", stream=stream)).encode())
        client.read_until(compressed)
        seen.set()
        received = client.read_to_end()
    assert b"content-encoding: gzip" in received
    assert received.endswith(b"%X\r\n%s\r\n" % (len(compressed), compressed)), received
    router.wait_log(r"^\[ERROR\] .* scanner error: reset_mid_body")


def test_a_pair_whose_workers_stream(
    start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker]
) -> None:
    """Prefill's tokens are back at its first event; the client has decode's while more are to come."""
    router = start_router(NO_ROUNDS, "--splitwise")
    prefill, decode = OneByOne(TYPES[1]), OneByOne(TYPES[1])
    workers = raw_worker(prefill), raw_worker(decode)
    for worker, role in zip(workers, ("prefill", "decode"), strict=True):
        assert router.register(worker.port, role, connector_port=1).status_code == 200
    with router.stream(f"{CHAT}?a=b", chat_body("hello", stream=1)) as response:
        pieces = response.iter_raw()
        assert next(pieces) == EVENTS[0]
        wait_for(lambda: router.running()[workers[0].url] == 0)
        router.wait_log(r"release prefill tokens: ")
        assert router.running()[workers[1].url] == 1
        for events in (prefill, decode):
            events.seen.set()
        assert b"".join(pieces) == EVENTS[1]
    assert [worker.hits[0].path for worker in workers] == [f"{CHAT}?a=b"] * 2


def test_a_whole_answer_of_a_pair(
    start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker]
) -> None:
    router = start_router(NO_ROUNDS, "--splitwise")
    workers = [raw_worker(lambda _: reply(b"{}")) for _ in range(2)]
    for worker, role in zip(workers, ("prefill", "decode"), strict=True):
        assert router.register(worker.port, role, connector_port=1).status_code == 200
    assert router.chat("hello", stream="true").content == b"{}"
