"""The official client cannot tell the router from the engine behind it."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from rig import Stage, reply, sse_head
from rig.router import chat_body
from rig.sse import Events
from rig.wait import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai.types.chat import ChatCompletionStreamOptionsParam

    from rig import Engine, Peer, RawWorker, Router

    StartEngine = Callable[..., Engine]
    StartEngines = Callable[..., list[Engine]]
    MakeWorker = Callable[..., RawWorker]

MESSAGES: Any = [{"role": "user", "content": "Wie heißt du? 你好 🙂"}]
CHUNK = {
    "id": "c",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "mock",
    "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}],
}
USAGE: ChatCompletionStreamOptionsParam = {"include_usage": True}
STREAMS = 100
EXCEPTIONS: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    stage = Stage(tmp_path_factory.mktemp("client"))
    try:
        yield stage.start_router("scheduler: {policy: round_robin}")
    finally:
        stage.close()


@pytest.fixture
def router(shared: Router) -> Iterator[Router]:
    """A router without workers."""
    yield shared
    shared.assert_idle()
    for worker in shared.registered()["mixed"]:
        assert shared.post("/unregister", {"url": worker["url"]}).status_code == 200


def served_by(worker: RawWorker | Engine, router: Router) -> None:
    assert router.register(worker.port).status_code == 200


def event(**changes: object) -> bytes:
    return b"data: " + json.dumps({**CHUNK, **changes}).encode() + b"\n\n"


def plain(answer: Any) -> dict[str, Any]:
    """An answer without what differs from one request to the next."""
    return {key: value for key, value in answer.to_dict().items() if key not in ("id", "created")}


def ask_everything(client: openai.OpenAI) -> list[Any]:
    """Chat and completion, whole and streamed."""
    chat: Any = {"model": "mock", "messages": MESSAGES, "max_tokens": 9}
    completion: Any = {"model": "mock", "prompt": "Es war einmal", "max_tokens": 9}
    with client.chat.completions.create(**chat, stream=True, stream_options=USAGE) as chunks:
        streamed_chat = [plain(chunk) for chunk in chunks]
    with client.completions.create(**completion, stream=True, stream_options=USAGE) as parts:
        streamed_completion = [plain(part) for part in parts]
    assert streamed_chat[-1]["usage"]["completion_tokens"] == 9
    assert streamed_completion[-1]["usage"]["completion_tokens"] == 9
    return [
        plain(client.chat.completions.create(**chat)),
        plain(client.completions.create(**completion)),
        streamed_chat,
        streamed_completion,
    ]


def test_same_as_without_the_router(router: Router, start_engine: StartEngine) -> None:
    engine = start_engine(token_secs=0)
    served_by(engine, router)
    with openai.OpenAI(base_url=f"{engine.url}/v1", api_key="none", max_retries=0) as direct:
        expected = ask_everything(direct)
    with router.openai() as client:
        assert ask_everything(client) == expected
    served = router.metrics().value("inference_requests_total", mixed_worker=engine.url, status_code="200")
    assert served == 4


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_engine_s_error_is_the_client_s_exception(
    router: Router, raw_worker: MakeWorker, stream: bool
) -> None:
    said = {"error": {"message": "no such thing", "type": "t", "code": "c", "param": None}}
    statuses = iter(EXCEPTIONS)
    worker = raw_worker(lambda _: reply(json.dumps(said).encode(), next(statuses), "retry-after: 5"))
    served_by(worker, router)
    with router.openai() as client:
        for status, kind in EXCEPTIONS.items():
            with pytest.raises(kind) as caught:
                client.chat.completions.create(model="mock", messages=MESSAGES, stream=stream)
            assert caught.value.status_code == status
            assert caught.value.body == said["error"]
            assert caught.value.response.headers["retry-after"] == "5"
    assert len(worker.hits) == len(EXCEPTIONS)


def test_the_router_s_own_errors_are_exceptions(router: Router) -> None:
    with router.openai() as client, pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="mock", messages=MESSAGES)
    assert caught.value.status_code == 502
    assert str(caught.value.body).startswith("Failed to select worker: ")


def test_a_broken_stream_raises(router: Router, raw_worker: MakeWorker) -> None:
    def answer(peer: Peer) -> None:
        peer.send(sse_head("transfer-encoding: chunked") + b"%x\r\n%b\r\n" % (len(event()), event()))
        peer.close()

    served_by(raw_worker(answer), router)
    got: list[str | None] = []
    with (
        router.openai() as client,
        client.chat.completions.create(model="mock", messages=MESSAGES, stream=True) as chunks,
        pytest.raises(openai.APIError, match="worker failed: reset_mid_body"),
    ):
        got.extend(chunk.choices[0].delta.content for chunk in chunks)
    assert got in ([], ["x"])


def test_each_chunk_when_it_was_produced(router: Router, raw_worker: MakeWorker) -> None:
    received = threading.Semaphore(0)

    def answer(peer: Peer) -> None:
        peer.send(sse_head())
        for number in range(5):
            peer.send(event(created=number))
            # A router that holds a chunk back until the next one comes never gets the next one.
            assert received.acquire(timeout=LIMIT), "a chunk was held back"
        peer.send(b"data: [DONE]\n\n")
        peer.close()

    served_by(raw_worker(answer), router)
    created = []
    with router.openai() as client:
        for chunk in client.chat.completions.create(model="mock", messages=MESSAGES, stream=True):
            created.append(chunk.created)
            received.release()
    assert created == list(range(5))


def test_leaving_a_stream_stops_the_engine(router: Router, start_engine: StartEngine) -> None:
    engine = start_engine(token_secs=0.01)
    served_by(engine, router)
    with (
        router.openai() as client,
        client.chat.completions.create(
            model="mock", messages=MESSAGES, stream=True, max_tokens=100_000
        ) as chunks,
    ):
        next(chunks)
        engine.wait_stats(running=1)
    engine.wait_stats(aborted=1, running=0)


def test_many_streams_at_once(router: Router, start_engines: StartEngines) -> None:
    engines = start_engines(2, token_secs=0.02, max_batch=STREAMS)
    for engine in engines:
        served_by(engine, router)

    async def follow(client: openai.AsyncOpenAI, number: int) -> str:
        chunks = await client.completions.create(
            model="mock", prompt=f"number {number}", stream=True, max_tokens=60
        )
        text = ""
        async for chunk in chunks:
            text += "".join(choice.text for choice in chunk.choices)
        return text.partition(":")[2]

    async def everybody() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(follow(client, number) for number in range(STREAMS)))

    texts = asyncio.run(everybody())
    with openai.OpenAI(base_url=f"{engines[0].url}/v1", api_key="none") as direct:
        for number in (0, STREAMS - 1):
            alone = direct.completions.create(model="mock", prompt=f"number {number}", max_tokens=60)
            assert texts[number] == alone.choices[0].text.partition(":")[2]
    assert {text.count(" ") for text in texts} == {59}
    assert [engine.stats()["peak_running"] for engine in engines] == [STREAMS // 2] * 2


@pytest.mark.parametrize("end", [b"\n\n", b""], ids=["ended", "unterminated"])
def test_a_line_of_12_mib(router: Router, raw_worker: MakeWorker, end: bytes) -> None:
    line = event(choices=[{"index": 0, "delta": {"content": "é" * (6 << 20)}}]).rstrip(b"\n")
    line = line.replace(b"\\u00e9", "é".encode())
    assert len(line) > 12 << 20
    served_by(raw_worker(lambda _: sse_head() + line + end), router)
    answer = router.chat("long", stream=True)
    assert answer.content == line + end
    if end:
        assert Events.parse(answer.content).rest == b""


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_compressed_bodies_pass_as_they_are(router: Router, raw_worker: MakeWorker, stream: bool) -> None:
    said = event() + b"data: [DONE]\n\n" if stream else b'{"a":1}'
    packed = gzip.compress(said, mtime=0)
    kind = "text/event-stream" if stream else "application/json"
    worker = raw_worker(lambda _: reply(packed, 200, "content-encoding: gzip", content_type=kind))
    served_by(worker, router)
    with router.stream(
        "/v1/chat/completions", chat_body("zip", stream=stream), headers={"accept-encoding": "gzip"}
    ) as answer:
        assert b"".join(answer.iter_raw()) == packed
        assert answer.headers["content-encoding"] == "gzip"
        assert int(answer.headers["content-length"]) == len(packed)
    assert worker.hits[0].header("accept-encoding") == ["gzip"]
    assert router.chat("zip", stream=stream).content == said


def test_bytes_are_those_of_the_engine(router: Router, start_engine: StartEngine) -> None:
    """The same request to the engine and through the router, answered within one second of the clock."""
    engine = start_engine(token_secs=0)
    served_by(engine, router)
    for stream in (False, True):
        body = chat_body("same", stream=stream, stream_options=USAGE, request_id="r", max_tokens=5)
        for _ in range(20):
            direct = httpx.post(f"{engine.url}/v1/chat/completions", json=body, trust_env=False)
            through = router.post("/v1/chat/completions", body)
            again = httpx.post(f"{engine.url}/v1/chat/completions", json=body, trust_env=False)
            if direct.content == again.content:
                break
        assert through.content == direct.content
        hidden = {"date", "transfer-encoding", "content-length"}
        expected = {name: value for name, value in direct.headers.items() if name not in hidden}
        assert expected.items() <= dict(through.headers).items()
