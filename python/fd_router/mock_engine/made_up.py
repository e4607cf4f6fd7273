"""What the mock engine answers where no completion is asked for: an engine's shapes, and made-up contents."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from fd_router.mock_engine.answer import DONE, event, piece_text

if TYPE_CHECKING:
    from collections.abc import Callable

Fields = dict[str, Any]
Frames = list[bytes]
WORDS_OF_ANSWER = 4


def words(name: str) -> list[str]:
    """The tokens of an answer, which name the engine."""
    return [piece_text(name, 0, range(index, index + 1)) for index in range(WORDS_OF_ANSWER)]


def listed(value: Any) -> list[Any]:
    """One thing, or several."""
    return value if isinstance(value, list) else [value]


def usage(name: str) -> Fields:
    """Of answers whose fields are called so."""
    return {f"{name}_tokens": 7, "output_tokens": WORDS_OF_ANSWER}


def embeddings(name: str, fields: Fields) -> Fields:
    """A vector for each text."""

    def vector(text: Any) -> list[float]:
        digest = hashlib.sha256(json.dumps(text).encode()).digest()
        return [byte / 256 for byte in digest[:4]]

    texts = listed(fields.get("input", fields.get("messages")))
    data = [{"object": "embedding", "index": at, "embedding": vector(text)} for at, text in enumerate(texts)]
    tokens = {"prompt_tokens": len(str(texts)), "total_tokens": len(str(texts))}
    return {"object": "list", "model": name, "data": data, "usage": tokens}


def ranking(name: str, fields: Fields) -> Fields:
    """The documents in the order in which they came."""
    documents = listed(fields.get("documents", []))
    results = [
        {"index": at, "relevance_score": 1 / (at + 1), "document": each} for at, each in enumerate(documents)
    ]
    return {"id": "rerank-1", "model": name, "results": results}


def scores(name: str, fields: Fields) -> Fields:
    """One score for each text that is compared with the first."""
    others = listed(fields.get("text_2", fields.get("items", [])))
    data = [{"object": "score", "index": at, "score": 1 / (at + 1)} for at in range(len(others))]
    return {"object": "list", "model": name, "data": data}


def tokens(name: str, fields: Fields) -> Fields:
    """Characters for tokens."""
    text = str(fields.get("prompt", fields.get("messages", "")))
    return {"model": name, "count": len(text), "tokens": [ord(char) for char in text], "max_model_len": 4096}


def text_of(name: str, fields: Fields) -> Fields:
    """And back."""
    return {"model": name, "prompt": "".join(chr(token) for token in listed(fields.get("tokens", [])))}


def generated(name: str, _fields: Fields) -> Fields:
    """As sglang's own protocol has it."""
    return {"text": "".join(words(name)), "meta_info": {"finish_reason": {"type": "stop"}}}


def message(name: str, _fields: Fields) -> Fields:
    """By Anthropic's protocol."""
    content = [{"type": "text", "text": "".join(words(name))}]
    return {**begun_message(name), "content": content, "stop_reason": "end_turn", "usage": usage("input")}


def response(name: str, _fields: Fields) -> Fields:
    """As OpenAI's responses are."""
    part = {"type": "output_text", "text": "".join(words(name)), "annotations": []}
    output = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    return {**begun_response(name), "status": "completed", "output": [output]}


def begun_message(name: str) -> Fields:
    """The same before its first token."""
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": name, "content": []}


def begun_response(name: str) -> Fields:
    """The same before its first token."""
    settled = {"parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 0,
        "status": "in_progress",
        "model": name,
        "output": [],
        **settled,
    }


def named(kind: str, **members: Any) -> bytes:
    """An event with a name, which its data repeats."""
    return f"event: {kind}\n".encode() + event({"type": kind, **members})


def message_stream(name: str) -> Frames:
    """By Anthropic's protocol, which has no `[DONE]`."""
    deltas = [
        named("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
        for word in words(name)
    ]
    return [
        named("message_start", message={**begun_message(name), "usage": usage("input")}),
        named("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *deltas,
        named("content_block_stop", index=0),
        named("message_delta", delta={"stop_reason": "end_turn"}, usage=usage("input")),
        named("message_stop"),
    ]


def response_stream(name: str) -> Frames:
    """By the protocol of OpenAI's responses."""
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    texts = words(name)
    return [
        named("response.created", sequence_number=0, response=begun_response(name)),
        *(
            named("response.output_text.delta", sequence_number=at + 1, delta=text, logprobs=[], **place)
            for at, text in enumerate(texts)
        ),
        named("response.completed", sequence_number=len(texts) + 1, response=response(name, {})),
    ]


def generated_stream(name: str) -> Frames:
    """As sglang has it: each event has all text so far."""
    texts = words(name)
    sofar = ["".join(texts[: at + 1]) for at in range(len(texts))]
    return [*(event({"text": text, "meta_info": {}}) for text in sofar), DONE]


AUDIO = "/v1/audio/transcriptions"
WHOLE: dict[str, Callable[[str, Fields], Fields]] = {
    "/v1/responses": response,
    "/v1/messages": message,
    "/v1/messages/count_tokens": lambda _name, _fields: {"input_tokens": 7},
    "/generate": generated,
    "/v1/embeddings": embeddings,
    "/pooling": embeddings,
    "/v1/reward": embeddings,
    "/v1/rerank": ranking,
    "/rerank": ranking,
    "/v1/score": scores,
    "/score": scores,
    "/tokenize": tokens,
    "/v1/tokenize": tokens,
    "/detokenize": text_of,
    "/v1/detokenize": text_of,
    AUDIO: lambda name, fields: {"text": f"{name}: {fields['bytes']} bytes"},
    "/v2/embed": lambda name, _fields: {"id": name, "embeddings": {}},
}
STREAMS: dict[str, Callable[[str], Frames]] = {
    "/v1/responses": response_stream,
    "/v1/messages": message_stream,
    "/generate": generated_stream,
}
