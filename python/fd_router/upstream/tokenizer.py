"""The tokenizer service: prompt text to token ids over HTTP, bounded by its timeout."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import orjson

from fd_router.upstream.engines import EngineClient, EngineError

if TYPE_CHECKING:
    from fd_router.upstream.trust import Trust

CONNECTIONS = 64
"""Requests to the service at once; more wait within their timeout."""


class TokenizerError(Exception):
    """The service gave no token ids; `str()` says why."""


def endpoint(url: str) -> str:
    """`url` with `http://` where no scheme is given and `/tokenize` where no path is, as upstream completes it."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    return urlunsplit(parts._replace(path=parts.path if parts.path not in ("", "/") else "/tokenize"))


class Tokenizer:
    """Client of one service."""

    def __init__(self, url: str, timeout_secs: float, trust: Trust) -> None:
        self._url = endpoint(url)
        self._client = EngineClient(timeout_secs, connections=CONNECTIONS, trust=trust)

    async def tokens(self, text: str) -> list[int]:
        """Token ids of `text`. Raises `TokenizerError` for anything but a non-empty list of integers."""
        # The service's users disagree on the field's name, so upstream sends all three.
        payload = orjson.dumps({"text": text, "prompt": text, "message": text})
        try:
            answer = await self._client.post(self._url, payload)
        except EngineError as error:
            raise TokenizerError(str(error)) from error
        if answer.status >= 300:
            raise TokenizerError(f"tokenizer answered status {answer.status}")
        return parse_ids(answer.content)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def parse_ids(body: bytes) -> list[int]:
    """`input_ids` of an answer: a non-empty list of integers >= 0."""
    try:
        ids = orjson.loads(body)["input_ids"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise TokenizerError("tokenizer answer has no input_ids") from error
    if not isinstance(ids, list) or not ids or not all(type(token) is int and token >= 0 for token in ids):
        raise TokenizerError("tokenizer input_ids is not a non-empty list of integers")
    return ids
