"""What the engine says: made-up words, and the JSON around them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fd_router.mock_engine.ask import Api, Ask

# Each has a character of more than one byte, so that any frame can be cut within one.
WORDS = ("naïve", "café", "crème", "brûlée", "façade", "jalapeño", "piñata", "über")
DONE = b"data: [DONE]\n\n"
JSON_HEADERS = [("content-type", "application/json")]
EVENT_HEADERS = [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache")]


def token_text(name: str, seed: int, index: int, pad: int = 0) -> str:
    """The text of one token of an answer: first the engine's name, then words that depend on the prompt."""
    text = f"{name}:" if index == 0 else f" {WORDS[(seed + index) % len(WORDS)]}"
    return text + "x" * max(0, pad - len(text.encode()))


def piece_text(name: str, seed: int, tokens: range, pad: int = 0) -> str:
    """The text of some tokens of an answer."""
    return "".join(token_text(name, seed, index, pad) for index in tokens)


@dataclass(slots=True)
class Usage:
    """Tokens of one request."""

    prompt: int
    cached: int
    completion: int

    def json(self) -> dict[str, Any]:
        """The `usage` object."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


class Template:
    """The parts that every object of one answer shares."""

    def __init__(self, ask: Ask, answer_id: str, created: int, engine: str) -> None:
        self._api: Api = ask.api
        self._base = {"id": answer_id, "created": created, "model": ask.model, "system_fingerprint": engine}

    def unary(self, text: str, finish_reason: str, usage: Usage) -> bytes:
        """The answer as one object."""
        if self._api == "chat":
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": finish_reason,
            }
            kind = "chat.completion"
        else:
            choice = {"index": 0, "text": text, "finish_reason": finish_reason}
            kind = "text_completion"
        return encode({**self._base, "object": kind, "choices": [choice], "usage": usage.json()})

    def frame(self, text: str, finish_reason: str | None, *, role: bool = False) -> bytes:
        """One event of a stream."""
        if self._api == "chat":
            delta = {"role": "assistant", "content": text} if role else {"content": text}
            return self._event([{"index": 0, "delta": delta, "finish_reason": finish_reason}])
        return self._event([{"index": 0, "text": text, "finish_reason": finish_reason}])

    def usage_frame(self, usage: Usage) -> bytes:
        """The event that carries the usage."""
        return self._event([], usage=usage.json())

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        kind = "chat.completion.chunk" if self._api == "chat" else "text_completion"
        return event({**self._base, "object": kind, "choices": choices, **more})


def error_body(api: Api, status: int, message: str) -> bytes:
    """An error as FastDeploy words it: nested for chat, flat for completions."""
    error = {"object": "error", "message": message, "type": "mock_engine_error", "code": status}
    return encode({"detail": error} if api == "chat" else error)


def event(data: object) -> bytes:
    """One server-sent event."""
    return b"data: " + encode(data) + b"\n\n"


def encode(data: object) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
