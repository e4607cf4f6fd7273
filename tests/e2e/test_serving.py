"""What a client gets through the router is what the engine said, when it said it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from rig import reply, sse_head

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai.types.chat import ChatCompletionMessageParam

    from rig import Engine, Peer, RawWorker, Router

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Wie heißt du? 你好"}]


def test_openai_client_in_mixed_mode(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]]
) -> None:
    router = start_router("scheduler: {policy: round_robin}")
    engines = start_engines(2, router, token_secs=0.001)
    router.wait_workers(mixed=2)
    served = set()
    with router.openai() as client:
        for _ in range(4):
            answer = client.chat.completions.create(model="mock", messages=MESSAGES, max_tokens=8)
            text = answer.choices[0].message.content
            with client.chat.completions.create(
                model="mock",
                messages=MESSAGES,
                max_tokens=8,
                stream=True,
                stream_options={"include_usage": True},
            ) as stream:
                chunks = list(stream)
            parts = [choice.delta.content for chunk in chunks for choice in chunk.choices]
            assert text is not None
            assert "".join(filter(None, parts)).partition(":")[2] == text.partition(":")[2]
            assert chunks[-1].usage is not None
            assert chunks[-1].usage.completion_tokens == 8
            served |= {answer.system_fingerprint, chunks[0].system_fingerprint}
        completion = client.completions.create(model="mock", prompt="hello", max_tokens=3)
        assert completion.choices[0].text
    assert served == {engine.name for engine in engines}


@pytest.mark.parametrize("stream", [False, True])
def test_openai_client_in_pd_mode(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]], stream: bool
) -> None:
    router = start_router("", "--splitwise")
    prefill = start_engines(2, router, role="prefill")
    decode = start_engines(2, router, role="decode")
    router.wait_workers(prefill=2, decode=2)
    for _ in range(4):
        answer = router.chat("hello " * 50, max_tokens=8, stream=stream)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-router-prefill-url"] in {engine.url for engine in prefill}
        assert answer.headers["x-router-decode-url"] in {engine.url for engine in decode}
        assert answer.headers["x-engine"] in {engine.name for engine in decode}
    assert sum(engine.stats()["kv_sent"] for engine in prefill) == 4
    assert sum(engine.stats()["kv_received"] for engine in decode) == 4


def test_bodies_pass_byte_for_byte(
    start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker]
) -> None:
    answer = b'{ "odd":\t1e2, "seed": 9007199254740993, "text": "\\u00e9<&>" }\n'
    router = start_router()
    worker = raw_worker(lambda _: reply(answer, 200, "X-Bar: 1", "x-bar: 2"))
    assert router.register(worker.port).status_code == 200
    body = b'{"messages" : [{"role":"user","content":"h\\u00e9"}], "seed":9007199254740993,  "x":1.0E+2 }'
    got = router.post("/v1/chat/completions?a=1", content=body, headers={"authorization": "Bearer t"})
    assert (got.status_code, got.content) == (200, answer)
    assert got.headers.get_list("x-bar") == ["1", "2"]
    assert worker.hits[0].body == body
    assert worker.hits[0].header("authorization") == ["Bearer t"]


def test_each_event_arrives_when_it_was_sent(
    start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker]
) -> None:
    events = [b"data: 1\r\n\r\n", b"data: \xc3\xa9\n\n", b"data: [DONE]"]
    received = threading.Semaphore(0)

    def answer(peer: Peer) -> None:
        peer.send(sse_head())
        for event in events:
            peer.send(event)
            # The next event is sent only once the client has this one: a router that holds back never ends this.
            assert received.acquire(timeout=20), "the router held an event back"
        peer.close()

    router = start_router()
    worker = raw_worker(answer)
    assert router.register(worker.port).status_code == 200
    got = b""
    with router.stream("/v1/completions", {"prompt": "a", "stream": True}) as response:
        for data in response.iter_raw():
            got += data
            if got in (b"".join(events[: n + 1]) for n in range(len(events))):
                received.release()
    assert got == b"".join(events)
