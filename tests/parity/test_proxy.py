"""Requests and answers in mixed mode: cases 43 to 62 but for those of PD mode."""

from __future__ import annotations

import json
import re
import threading

import pytest

from parity.scene import CHAT, COMPLETIONS, OK, add_worker, add_workers, at_once, error, wait_running
from rig import Peer, RawWorker, Router, Stage, reply, sse_head
from rig.router import chat_body
from rig.wait import LIMIT

EVENTS = [b'data: {"n":1}\n\n', b'data: {"n":2}\r\n\r\n', b"data: [DONE]\n\n"]
STREAM = chat_body("hello", stream=True)
CONNECT = "Failed to connect to backend service: "


def add_stream(stage: Stage, router: Router, *pieces: bytes) -> RawWorker:
    """A worker that streams these pieces and ends."""

    def answer(peer: Peer) -> None:
        for piece in (sse_head(), *pieces):
            peer.send(piece)
        peer.close()

    return add_worker(stage, router, answer)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nope"),
        ("POST", "/"),
        ("GET", "/register"),
        ("DELETE", "/registered"),
        ("GET", CHAT),
        ("HEAD", "/registered"),
    ],
)
def test_case_043_unknown_path_or_method(mixed: Router, method: str, path: str) -> None:
    answer = mixed.client.request(method, path)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text == ("" if method == "HEAD" else "404 page not found")


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("body", ["[]", "x", ""])
def test_case_044_body_that_is_no_object(mixed: Router, path: str, body: str) -> None:
    answer = mixed.post(path, content=body)
    assert answer.status_code == 400
    assert error(answer).startswith("Invalid JSON format: ")
    mixed.wait_log(r"^\[ERROR\] .* Failed to unmarshal request JSON: .")


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_case_045_no_worker(mixed: Router, path: str) -> None:
    answer = mixed.post(path, chat_body("hello"))
    assert answer.status_code == 502
    assert answer.json() == {"error": "Failed to select worker: no healthy workers available"}
    mixed.wait_log(r"^\[ERROR\] .* Failed to select mixed worker: no healthy workers available$")
    mixed.wait_log(r"^\[ERROR\] .* Failed to select worker: no healthy workers available$")


BYTES = (
    '{ "seed":9007199254740993 ,"x" : 1.0e+2,"stream"\t: false, "messages":[{"content":"\\u00e9<&>é",'
    '"role":"user"}],\r\n"x":0.10 }'
).encode()


def test_case_048_same_bytes(mixed: Router, stage: Stage) -> None:
    worker = add_worker(stage, mixed)
    assert mixed.post(CHAT, content=BYTES).status_code == 200
    (hit,) = worker.hits
    assert (hit.method, hit.path, hit.body) == ("POST", CHAT, BYTES)


QUERY = "?a=b&c=%2F%20&%C3%A9&d=1?2/"


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_note_48_query(mixed: Router, stage: Stage, path: str) -> None:
    """The Go router drops it. Here it reaches the engine as it came, by a kept connection too."""
    worker = add_worker(stage, mixed)
    for query in (QUERY, "?", "", QUERY):
        with mixed.raw() as client:
            client.post(path + query, BYTES)
            client.read_until(b'{"ok":true}')
    assert [hit.path for hit in worker.hits] == [path + QUERY, path, path, path + QUERY]
    assert {hit.body for hit in worker.hits} == {BYTES}
    mixed.wait_log(rf"\[POST\] {re.escape(path + QUERY)} HTTP/1\.1 200 ")


def test_case_049_completions(mixed: Router, stage: Stage) -> None:
    worker = add_worker(stage, mixed)
    assert mixed.post(COMPLETIONS, {"prompt": "hello"}).status_code == 200
    assert [hit.path for hit in worker.hits] == [COMPLETIONS]


def test_case_050_request_headers(mixed: Router, stage: Stage) -> None:
    worker = add_worker(stage, mixed)
    mixed.post(CHAT, content=BYTES, headers={"Authorization": "Bearer t", "X-Foo": "bar"})
    (hit,) = worker.hits
    assert (hit.header("authorization"), hit.header("x-foo")) == (["Bearer t"], ["bar"])
    assert hit.header("content-length") == [str(len(BYTES))]
    assert hit.header("host") == [f"127.0.0.1:{worker.port}"]


def test_case_051_answer_headers(mixed: Router, stage: Stage) -> None:
    body = b'{"id": "chatcmpl-1",  "choices":[]}\n'
    add_worker(stage, mixed, lambda peer: reply(body, 200, "X-Bar: baz", "Server: engine"))
    answer = mixed.chat("hello")
    assert (answer.status_code, answer.content, answer.headers["x-bar"]) == (200, body, "baz")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers.get_list("server") == ["engine"]
    assert "x-router-prefill-url" not in answer.headers


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 429, 500])
def test_case_052_status_of_the_worker(mixed: Router, stage: Stage, status: int, stream: bool) -> None:
    body = b'{"detail": {"message": "no"}}'
    worker = add_worker(stage, mixed, lambda peer: reply(body, status, "Retry-After: 7"))
    answer = mixed.chat("hello", stream=stream)
    assert (answer.status_code, answer.content) == (status, body)
    assert (answer.headers["content-type"], answer.headers["retry-after"]) == ("application/json", "7")
    assert mixed.metrics().value("inference_requests_total", mixed_worker=worker.url, status_code=f"{status}")
    mixed.wait_log(rf"\[POST\] {CHAT} HTTP/1\.1 {status} ")


def test_case_053_two_closed_connections(mixed: Router, stage: Stage) -> None:
    def answer(peer: Peer) -> bytes | None:
        if len(worker.hits) >= 3:
            return OK
        peer.close()
        return None

    worker = add_worker(stage, mixed, answer)
    assert mixed.chat("hello").status_code == 200
    assert len(worker.hits) == 3
    for attempt in (1, 2):
        mixed.wait_log(rf"^\[ERROR\] .* Request failed \(attempt {attempt}/3\): .")


def close(peer: Peer) -> None:
    peer.close()


def test_case_054_always_closed(mixed: Router, stage: Stage) -> None:
    worker = add_worker(stage, mixed, close)
    answer = mixed.chat("hello")
    assert answer.status_code == 502
    assert error(answer).startswith(CONNECT)
    assert len(worker.hits) == 3
    mixed.wait_log(rf"^\[ERROR\] .* Backend request failed for {worker.url}\S*: .")


def test_case_055_the_error_is_json(mixed: Router, stage: Stage) -> None:
    dead = add_worker(stage, mixed)
    dead.stop()
    answer = mixed.chat("hello")
    assert answer.status_code == 502
    assert json.loads(answer.content).keys() == {"error"}
    assert error(answer).startswith(CONNECT)
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_case_056_an_answer_is_no_reason_to_retry(mixed: Router, stage: Stage) -> None:
    worker = add_worker(stage, mixed, lambda peer: reply(b"{}", 500))
    assert mixed.chat("hello").status_code == 500
    assert len(worker.hits) == 1


def test_case_057_each_event_when_it_is_sent(mixed: Router, stage: Stage) -> None:
    """The worker goes on only when the client has the event, so one that waits in the router is seen."""
    arrived = [threading.Event() for _ in EVENTS]

    def answer(peer: Peer) -> None:
        peer.send(sse_head())
        for event, mark in zip(EVENTS, arrived, strict=True):
            peer.send(event)
            assert mark.wait(LIMIT), "the client did not get the event"
        peer.close()

    add_worker(stage, mixed, answer)
    with mixed.stream(CHAT, STREAM) as response:
        assert response.headers["content-type"] == "text/event-stream"
        pieces = response.iter_raw()
        got = b""
        for number, mark in enumerate(arrived, 1):
            while len(got) < len(b"".join(EVENTS[:number])):
                got += next(pieces)
            assert got == b"".join(EVENTS[:number])
            mark.set()
        assert got + b"".join(pieces) == b"".join(EVENTS)


def test_case_058_last_line_without_an_end(mixed: Router, stage: Stage) -> None:
    add_stream(stage, mixed, b"data: 1\n\n", b"test response")
    assert mixed.post(CHAT, STREAM).content == b"data: 1\n\ntest response"


def test_case_059_stream_as_text_is_no_stream(mixed: Router, stage: Stage) -> None:
    """A stream gives its prompt's tokens back at the first byte, any other answer at its end."""
    worker = add_worker(stage, mixed, lambda peer: reply(b"test response"))
    tails = {}
    for stream in ("true", True):
        mixed.forget_log()
        body = json.dumps(chat_body("hello", stream=stream)).encode()
        assert mixed.post(CHAT, content=body).content == b"test response"
        assert worker.hits[-1].body == body
        mixed.wait_log(r"\[POST\]")
        tails[stream] = [
            message.split(":")[0]
            for message in mixed.messages()
            if message.startswith(("Request completed", "release"))
        ]
    assert tails["true"] == ["Request completed successfully.", "release worker", "release prefill tokens"]
    assert tails[True] == ["release prefill tokens", "Request completed successfully.", "release worker"]


def test_case_060_line_of_12_mib(mixed: Router, stage: Stage) -> None:
    line = b"data: " + b"x" * (12 << 20) + b"\n\n"
    add_stream(stage, mixed, line, EVENTS[-1])
    answer = mixed.post(CHAT, STREAM).content
    assert len(answer) == len(line) + len(EVENTS[-1])
    assert answer == line + EVENTS[-1]


def test_case_061_client_leaves(mixed: Router, stage: Stage) -> None:
    closed = threading.Event()

    def answer(peer: Peer) -> None:
        peer.send(sse_head())
        peer.send(EVENTS[0])
        if peer.wait_closed():
            closed.set()

    worker = add_worker(stage, mixed, answer)
    with mixed.raw() as client:
        client.post(CHAT, json.dumps(STREAM).encode())
        client.read_until(EVENTS[0].strip())
        wait_running(mixed, **{worker.url: 1})
    assert closed.wait(LIMIT), "the worker's connection stays open"
    wait_running(mixed, **{worker.url: 0})


def test_case_062_worker_dies_in_a_stream(mixed: Router, stage: Stage) -> None:
    def answer(peer: Peer) -> None:
        peer.send(sse_head())
        peer.send(EVENTS[0])
        assert client_has_first.wait(LIMIT)
        peer.reset()

    client_has_first = threading.Event()
    worker = add_worker(stage, mixed, answer)
    with mixed.stream(CHAT, STREAM) as response:
        pieces = response.iter_raw()
        got = next(pieces)
        client_has_first.set()
        got += b"".join(pieces)
    assert got.startswith(EVENTS[0])
    event = got[len(EVENTS[0]) :]
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    assert json.loads(event[6:])["error"]["message"]
    wait_running(mixed, **{worker.url: 0})
    mixed.wait_log(r"^\[ERROR\] .* scanner error: .")


@pytest.mark.parametrize(
    ("method", "path", "status", "location"),
    [
        ("GET", "/registered/", 301, "/registered"),
        ("GET", "/metrics/?a=b", 301, "/metrics?a=b"),
        ("POST", f"{CHAT}/", 307, CHAT),
        ("POST", "/register/", 307, "/register"),
    ],
)
def test_trailing_slash(mixed: Router, method: str, path: str, status: int, location: str) -> None:
    answer = mixed.client.request(method, path, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (status, location)


def test_message_of_a_body_that_cannot_be_read(mixed: Router) -> None:
    """Two lengths: whoever guesses here can be made to see another request than the engine does."""
    with mixed.raw() as client:
        client.send(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 2, 3\r\n\r\n{{}}x".encode())
        answer = client.read_to_end()
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_message_of_a_body_over_the_limit(mixed: Router) -> None:
    with mixed.raw() as client:
        client.send(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {65 << 20}\r\n\r\n".encode())
        answer = client.read_until(b"}")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'{"error":"Invalid request body: body of 68157440 bytes' in answer
    mixed.wait_log(r"^\[ERROR\] .* Failed to read request body: body of 68157440 bytes")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_note_02_redirects_are_passed_on(mixed: Router, stage: Stage, status: int) -> None:
    elsewhere = stage.raw_worker(at_once)
    location = f"{elsewhere.url}/there"
    add_worker(stage, mixed, lambda peer: reply(b"moved", status, f"Location: {location}"))
    answer = mixed.client.post(CHAT, json=chat_body("hello"), follow_redirects=False)
    assert (answer.status_code, answer.headers["location"], answer.content) == (status, location, b"moved")
    assert elsewhere.hits == []


@pytest.mark.parametrize("size", [3, 100_000])
def test_note_03_length_of_the_worker(mixed: Router, stage: Stage, size: int) -> None:
    add_worker(stage, mixed, lambda peer: reply(b"x" * size))
    answer = mixed.chat("hello")
    assert answer.headers["content-length"] == str(size)
    assert "transfer-encoding" not in answer.headers
    assert answer.content == b"x" * size


def test_note_04_null_is_no_object(mixed: Router, split: Router) -> None:
    for router in (mixed, split):
        answer = router.post(CHAT, content="null")
        assert answer.status_code == 400
        assert error(answer).startswith("Invalid JSON format: ")


def test_note_05_client_leaves_before_the_answer(mixed: Router, stage: Stage) -> None:
    def answer(peer: Peer) -> None:
        peer.wait_closed()

    worker = add_worker(stage, mixed, answer)
    with mixed.raw() as client:
        client.post(CHAT, json.dumps(chat_body("hello")).encode())
        worker.wait_hits(1)
    mixed.wait_log(rf"^\[INFO\] .* \[POST\] {CHAT} HTTP/1\.1 499 ")
    mixed.wait_log(r"^\[INFO\] .* \[fd-router\] client: .*left")
    assert [line for line in mixed.log_lines() if line.level != "INFO"] == []
    assert len(worker.hits) == 1


def test_note_08_expect_is_answered_by_the_router(mixed: Router, stage: Stage) -> None:
    worker = add_worker(stage, mixed)
    body = json.dumps(chat_body("hello")).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {len(body)}\r\n\r\n"
    with mixed.raw() as client:
        client.send(head.encode())
        client.read_until(b"HTTP/1.1 100 ")
        client.send(body)
        client.read_until(b'{"ok":true}')
    (hit,) = worker.hits
    assert (hit.header("expect"), hit.body) == ([], body)


def test_proxies_of_the_environment_are_ignored(stage: Stage) -> None:
    proxy = stage.raw_worker(at_once)
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY")
    router = stage.start_router(env=dict.fromkeys(names, proxy.url) | {"NO_PROXY": "", "no_proxy": ""})
    worker = add_worker(stage, router)
    assert router.chat("hello").status_code == 200
    assert (len(worker.hits), len(proxy.hits)) == (1, 0)


def test_a_failed_worker_is_replaced_by_another(mixed: Router, stage: Stage) -> None:
    """The Go router tries the same one three times."""
    workers = add_workers(stage, mixed, 2, close)
    workers[1].answer = at_once
    assert mixed.chat("hello").status_code == 200
    assert [len(worker.hits) for worker in workers] == [1, 1]
