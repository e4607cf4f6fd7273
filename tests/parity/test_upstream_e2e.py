"""Case 117: what the Go router's own end-to-end tests do, with mock engines for FastDeploy's."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import httpx
import pytest

from rig import Router, Stage
from rig.router import free_port

MESSAGES = [{"role": "user", "content": "Shandong's tourist attractions, please"}]


def launch(stage: Stage, *flags: str) -> Router:
    """`fd-router --port N ...`; the file is there to stay on loopback."""
    port = free_port()
    return stage.start_router("server: {host: 127.0.0.1}", "--port", str(port), *flags, exact=True, port=port)


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """The chunks of a stream, as those tests take it apart."""
    chunks = []
    for line in answer.iter_lines():
        if line == "data: [DONE]":
            break
        if line.startswith("data: "):
            chunks.append(json.loads(line.removeprefix("data: ")))
    return chunks


def chat_as_their_tests_do(router: Router) -> None:
    body = {"messages": MESSAGES, "max_tokens": 20, "temperature": 0.8, "top_p": 0}
    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
    with router.stream("/v1/chat/completions", streamed) as answer:
        assert answer.status_code == 200
        chunks = events(answer)
    text = "".join(choice["delta"]["content"] for chunk in chunks for choice in chunk["choices"])
    usage = chunks[-1]["usage"]
    assert usage["completion_tokens"] == len(chunks) - 2 == 20
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]

    answer = router.post("/v1/chat/completions", {**body, "stream": False})
    assert answer.status_code == 200
    whole = answer.json()
    assert whole["choices"][0]["message"]["content"]
    assert whole["usage"]["completion_tokens"] == 20
    assert text


def chat_with_the_official_client(router: Router) -> None:
    with router.openai() as client:
        messages: Any = MESSAGES
        streamed = client.chat.completions.create(
            model="default", messages=messages, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(streamed)
        assert chunks[-1].usage
        assert chunks[-1].usage.completion_tokens == len(chunks) - 2
        whole = client.chat.completions.create(model="default", messages=messages, max_tokens=5)
        assert whole.choices[0].message.content
        assert client.completions.create(model="default", prompt="hello").choices[0].text


def end_as_their_tests_do(router: Router) -> None:
    os.killpg(os.getpgid(router.process.pid), signal.SIGTERM)
    router.process.wait(10)


def test_case_117_mixed(stage: Stage) -> None:
    router = launch(stage)
    stage.start_engines(2, router)
    router.wait_workers(mixed=2)
    chat_as_their_tests_do(router)
    chat_with_the_official_client(router)
    router.assert_idle()
    end_as_their_tests_do(router)


@pytest.mark.parametrize("policy", ["", "scheduler: {prefill-policy: cache_aware}"])
def test_case_117_pair(stage: Stage, policy: str) -> None:
    router = launch(stage, "--splitwise")
    stage.start_engine(router, role="prefill")
    stage.start_engine(router, role="decode")
    router.wait_workers(prefill=1, decode=1)
    chat_as_their_tests_do(router)
    chat_with_the_official_client(router)
    router.assert_idle()
    end_as_their_tests_do(router)
