"""What a client asks of the engine, read from the body of an inference request."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Api = Literal["chat", "completion"]
MAX_TOKENS = 1_000_000


class RefusedError(Exception):
    """The engine will not serve this: a status, a message, headers."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class Ask:
    """The parts of a request that the mock acts on."""

    api: Api
    model: str
    prompt: str | tuple[int, ...]
    """Text, a token a character, or the client's token ids."""
    stream: bool
    include_usage: bool
    max_tokens: int | None
    request_id: str | None
    disaggregate_info: object
    checksum: str
    """SHA-256 of the body: both legs of a pair must have the same."""

    @property
    def seed(self) -> int:
        """A number that depends on the prompt only."""
        return hashlib.sha256(str(self.prompt).encode("utf-8", "surrogatepass")).digest()[0]


def parse(body: bytes, api: Api) -> Ask:
    """Read a body. Raises `RefusedError` with 400."""
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise RefusedError(400, f"body is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise RefusedError(400, "body is not a JSON object")
    options = fields.get("stream_options")
    request_id = fields.get("request_id")
    return Ask(
        api=api,
        model=str(fields.get("model", "mock")),
        prompt=chat_prompt(fields.get("messages"))
        if api == "chat"
        else completion_prompt(fields.get("prompt")),
        stream=fields.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        max_tokens=max_tokens(fields),
        request_id=None if request_id is None else str(request_id),
        disaggregate_info=fields.get("disaggregate_info"),
        checksum=hashlib.sha256(body).hexdigest(),
    )


def chat_prompt(messages: object) -> str:
    """The text of a conversation under a plain chat template."""
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise RefusedError(400, "messages is not a list of objects")
    return "".join(f"<{message.get('role')}>{content_text(message.get('content'))}\n" for message in messages)


def content_text(content: object) -> str:
    """The text of one message: a string, or the text items of a list."""
    if isinstance(content, list):
        return "".join(str(item.get("text", "")) for item in content if isinstance(item, dict))
    return content if isinstance(content, str) else ""


def completion_prompt(prompt: object) -> str | tuple[int, ...]:
    """A text, several texts as one, or token ids."""
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and all(type(item) is int for item in prompt):
        return tuple(prompt)
    if isinstance(prompt, list) and all(isinstance(item, str) for item in prompt):
        return "".join(prompt)
    raise RefusedError(400, "prompt is not a string, a list of strings or a list of token ids")


def max_tokens(fields: dict[str, Any]) -> int | None:
    """The limit on the answer, under its newer or older name."""
    for key in ("max_completion_tokens", "max_tokens"):
        value = fields.get(key)
        if value is None:
            continue
        if type(value) is not int or not 1 <= value <= MAX_TOKENS:
            raise RefusedError(400, f"{key} is {value!r}; accepted: 1 to {MAX_TOKENS}")
        return value
    return None
