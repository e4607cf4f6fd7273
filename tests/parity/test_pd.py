"""Pairs: cases 46, 47, 72 to 75, 89 to 91, 96 to 102 and 104."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import httpx
import pytest

from parity.scene import (
    CHAT,
    COMPLETIONS,
    OK,
    Held,
    Pair,
    add_pair,
    add_worker,
    at_once,
    by_url,
    error,
    register,
    wait_running,
)
from rig import Peer, Router, Stage, reply, sse_head
from rig.router import chat_body
from rig.wait import LIMIT

UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"

Background = Callable[..., Future[Any]]


def url_headers(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("x-router-")}


def expected_headers(pair: Pair) -> dict[str, str]:
    return {"x-router-prefill-url": pair.prefill.url, "x-router-decode-url": pair.decode.url}


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_case_046_half_a_pair(split: Router, stage: Stage, role: str) -> None:
    worker = add_worker(stage, split, role=role)
    answer = split.chat("hello")
    assert (answer.status_code, error(answer)) == (503, "No available prefill/decode workers")
    assert url_headers(answer) == {}
    assert (split.running()[worker.url], split.tokens()[worker.url], worker.hits) == (0, 0, [])
    split.settled_log()
    assert not [message for message in split.messages() if message.startswith(("select", "release"))]


def test_case_047_request_id_in_the_error(split: Router, stage: Stage) -> None:
    add_worker(stage, split, role="prefill")
    answer = split.chat("hello", request_id="r1")
    assert answer.status_code == 503
    assert answer.json() == {"error": "No available prefill/decode workers", "request_id": "r1"}
    made = split.chat("hello").json()["request_id"]
    assert re.fullmatch(UUID4, made)


def test_case_072_estimate_of_tokens(split: Router, stage: Stage) -> None:
    pair = add_pair(stage, split)
    split.post(COMPLETIONS, {"prompt": "hello"})
    split.wait_log(rf"select worker \(prefill\): {pair.prefill.url}, tokens: 10$")
    split.wait_log(rf"select worker \(decode\): {pair.decode.url}, count: 1$")
    split.wait_log(rf"release prefill tokens: {pair.prefill.url}, tokens: 0$")


def test_case_073_messages_are_joined(split: Router, stage: Stage) -> None:
    pair = add_pair(stage, split)
    texts = ("hello", " hi\n", "\u00a0", "how are you")
    split.post(CHAT, {"messages": [{"role": "user", "content": text} for text in texts]})
    tokens = 2 * len("hello hi how are you")
    split.wait_log(rf"select worker \(prefill\): {pair.prefill.url}, tokens: {tokens}$")


def test_case_074_only_text_counts(split: Router, stage: Stage) -> None:
    pair = add_pair(stage, split)
    content = [
        {"type": "text", "text": "你好"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,xxxx"}},
        {"type": "image_url", "text": "not this"},
        {"type": "text", "text": 1},
    ]
    split.post(CHAT, {"messages": [{"role": "user", "content": content}, {"role": "user"}, "nor this"]})
    split.wait_log(rf"select worker \(prefill\): {pair.prefill.url}, tokens: 4$")


def test_case_075_empty_prompts_are_skipped(split: Router, stage: Stage) -> None:
    pair = add_pair(stage, split)
    split.post(COMPLETIONS, {"prompt": ["", "hello", ""]})
    split.wait_log(rf"select worker \(prefill\): {pair.prefill.url}, tokens: 10$")
    split.forget_log()
    split.post(COMPLETIONS, {"prompt": [[1, 2, 3]]})
    split.wait_log(rf"select worker \(prefill\): {pair.prefill.url}, tokens: 0$")


def test_case_089_request_id_is_made(split: Router, stage: Stage) -> None:
    pair = add_pair(stage, split)
    ids = []
    for _ in range(2):
        assert split.chat("hello").status_code == 200
        prefill, decode = pair.bodies()
        assert prefill == decode
        ids.append(prefill["request_id"])
    assert all(re.fullmatch(UUID4, made) for made in ids)
    assert ids[0] != ids[1]
    split.wait_log(rf"\[request_id:{ids[0]}\] select worker")


def test_case_090_request_id_is_kept(split: Router, stage: Stage) -> None:
    pair = add_pair(stage, split)
    assert split.chat("hello", request_id="abc").status_code == 200
    assert [body["request_id"] for body in pair.bodies()] == ["abc", "abc"]


def test_request_id_that_is_empty(split: Router, stage: Stage) -> None:
    """It names no request: one is made, put wherever the key stands, and logged as it was sent."""
    pair = add_pair(stage, split)
    body = b'{"request_id":"x","messages":[{"role":"user","content":"hello"}], "request_id" : "" }'
    assert split.post(CHAT, content=body).status_code == 200
    prefill, decode = (worker.hits[-1].body for worker in (pair.prefill, pair.decode))
    assert prefill == decode
    made = json.loads(prefill)["request_id"]
    assert re.fullmatch(UUID4, made)
    assert prefill.count(f'"{made}"'.encode()) == 2
    split.wait_log(rf"\[request_id:{made}\] select worker")


@pytest.mark.parametrize(("given", "seen"), [(123, 123), (None, UUID4)])
def test_case_091_request_id_that_is_no_text(
    split: Router, stage: Stage, given: object, seen: object
) -> None:
    """The Go router panics. A number stays what it is; null is no id."""
    pair = add_pair(stage, split)
    assert split.chat("hello", request_id=given).status_code == 200
    prefill, decode = pair.bodies()
    assert prefill == decode
    if given is None:
        assert re.fullmatch(str(seen), prefill["request_id"])
    else:
        assert prefill["request_id"] == seen


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_case_096_success(split: Router, stage: Stage, path: str) -> None:
    pair = add_pair(stage, split, lambda peer: reply(b'{"of":"prefill"}'), reply(b'{"of":"decode"}'))
    answer = split.post(path, {"prompt": "hello"})
    assert (answer.status_code, answer.content) == (200, b'{"of":"decode"}')
    assert url_headers(answer) == expected_headers(pair)
    assert [worker.hits[0].path for worker in (pair.prefill, pair.decode)] == [path, path]


def expect_bad_gateway(split: Router, pair: Pair, role: str) -> None:
    """One worker of the pair is dead: 502, and nothing stays booked."""
    dead = getattr(pair, role)
    dead.stop()
    answer = split.chat("hello", request_id="r1")
    assert answer.status_code == 502
    assert error(answer).startswith("Failed to connect to backend service: ")
    assert answer.json()["request_id"] == "r1"
    assert url_headers(answer) == expected_headers(pair)
    idle = {pair.prefill.url: 0, pair.decode.url: 0}
    wait_running(split, **idle)
    assert idle.items() <= split.tokens().items()
    split.wait_log(rf"^\[ERROR\] .* {role.capitalize()} request failed for {dead.url}\S*: .")


def test_case_097_decode_refuses(split: Router, stage: Stage) -> None:
    expect_bad_gateway(split, add_pair(stage, split), "decode")


def test_case_098_prefill_refuses(split: Router, stage: Stage) -> None:
    """Decode would wait for prefill for as long as it takes."""

    def decode(peer: Peer) -> None:
        peer.wait_closed()

    expect_bad_gateway(split, add_pair(stage, split, decode=decode), "prefill")


def test_case_099_stream_releases_prefill_at_its_first_line(split: Router, stage: Stage) -> None:
    go_on = threading.Event()

    def prefill(peer: Peer) -> None:
        peer.send(sse_head())
        peer.send(b"data: 1\n\n")
        go_on.wait(LIMIT)
        peer.close()

    def decode(peer: Peer) -> None:
        peer.send(sse_head())
        peer.send(b"data: a\n\n")
        assert go_on.wait(LIMIT)
        peer.send(b"data: [DONE]\n\n")
        peer.close()

    pair = add_pair(stage, split, prefill, decode)
    with split.stream(CHAT, chat_body("hello", stream=True)) as response:
        pieces = response.iter_raw()
        got = next(pieces)
        wait_running(split, **{pair.prefill.url: 0, pair.decode.url: 1})
        assert split.tokens()[pair.prefill.url] == 0
        split.wait_log(rf"\[prefill\] first chunk received, release counter url={pair.prefill.url}$")
        go_on.set()
        assert got + b"".join(pieces) == b"data: a\n\ndata: [DONE]\n\n"
    wait_running(split, **{pair.decode.url: 0})


def test_case_100_answer_releases_prefill_at_its_end(
    split: Router, stage: Stage, in_background: Background
) -> None:
    half_sent, rest, held = threading.Event(), threading.Event(), Held()

    def prefill(peer: Peer) -> None:
        peer.send(OK[:-4])
        half_sent.set()
        assert rest.wait(LIMIT)
        peer.send(OK[-4:])

    pair = add_pair(stage, split, prefill, held)
    under_way = in_background(split.chat, "hello")
    assert half_sent.wait(LIMIT)
    pair.decode.wait_hits(1)
    wait_running(split, **{pair.prefill.url: 1, pair.decode.url: 1})
    rest.set()
    wait_running(split, **{pair.prefill.url: 0, pair.decode.url: 1})
    assert split.tokens()[pair.prefill.url] == 0
    split.wait_log(rf"\[prefill\] non-stream prefill response done, release counter url={pair.prefill.url}$")
    held.let_go()
    assert under_way.result().status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_case_101_client_leaves_while_prefill_hangs(split: Router, stage: Stage, stream: bool) -> None:
    closed = threading.Barrier(3)

    def hang(peer: Peer) -> None:
        if peer.wait_closed():
            closed.wait(LIMIT)

    pair = add_pair(stage, split, hang, hang)
    with split.raw() as client:
        client.post(CHAT, json.dumps(chat_body("hello", stream=stream)).encode())
        for worker in (pair.prefill, pair.decode):
            worker.wait_hits(1)
        wait_running(split, **{pair.prefill.url: 1, pair.decode.url: 1})
    closed.wait(LIMIT)
    split.assert_idle()
    split.wait_log(rf"\[POST\] {CHAT} HTTP/1\.1 499 ")


def test_case_102_large_numbers(split: Router, stage: Stage) -> None:
    pair = add_pair(stage, split)
    raw = b'{"seed" : 9007199254740993,"z":1.10, "a":"\\u003c<","messages":[],"request_id":"r"}'
    assert split.post(CHAT, content=raw).status_code == 200
    for worker in (pair.prefill, pair.decode):
        (hit,) = worker.hits
        body = hit.body
        assert body.startswith(raw[:-1])
        assert json.loads(body)["seed"] == 9007199254740993


@pytest.mark.parametrize("stream", [False, True])
def test_case_104_decode_refuses_the_request(split: Router, stage: Stage, stream: bool) -> None:
    pair = add_pair(stage, split, decode=reply(b'{"detail":"no"}', 400))
    answer = split.chat("hello", stream=stream)
    assert (answer.status_code, answer.content) == (400, b'{"detail":"no"}')
    assert url_headers(answer) == expected_headers(pair)
    labels = {
        "decode_worker": pair.decode.url,
        "mixed_worker": "",
        "prefill_worker": pair.prefill.url,
        "status_code": "400",
    }
    assert split.metrics().value("inference_requests_total", **labels) == 1
    assert len(pair.decode.hits) == 1


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_message_of_a_body_that_is_no_object(split: Router, path: str) -> None:
    for body in ("[]", "x", ""):
        answer = split.post(path, content=body)
        assert answer.status_code == 400
        assert error(answer).startswith("Invalid JSON format: ")


def test_note_10_a_stale_connection_is_never_shown(split: Router, stage: Stage) -> None:
    """Each worker closes its connection after its answer without having said so."""

    def answer(peer: Peer) -> None:
        peer.send(OK)
        peer.close()

    add_pair(stage, split, answer, answer)
    assert [split.chat("hello").status_code for _ in range(20)] == [200] * 20


def test_prefill_that_refuses_ends_the_wait(split: Router, stage: Stage) -> None:
    """The Go router does not look at prefill's status, and the client waits for decode."""

    def decode(peer: Peer) -> None:
        peer.wait_closed()

    add_pair(stage, split, lambda peer: reply(b'{"detail":"bad"}', 422), decode)
    answer = split.chat("hello")
    assert (answer.status_code, answer.content) == (422, b'{"detail":"bad"}')


def test_a_lost_pair_is_chosen_again(split: Router, stage: Stage) -> None:
    """Of two prefill workers the first by url is dead, and decode waits for it."""
    dead, well = sorted((stage.raw_worker(at_once) for _ in range(2)), key=by_url)
    register(split, dead, "prefill", connector_port=1)
    register(split, well, "prefill", connector_port=2)
    dead.stop()

    def decode(peer: Peer) -> bytes | None:
        if json.loads(peer.body)["disaggregate_info"]["prefill_connector_port"] == 2:
            return OK
        peer.wait_closed()
        return None

    add_worker(stage, split, decode, "decode")
    answer = split.chat("hello")
    assert (answer.status_code, answer.headers["x-router-prefill-url"]) == (200, well.url)
