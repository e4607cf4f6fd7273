"""What an engine says of its models: `GET /v1/models`, as OpenAI has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fd_router._core import UpstreamError
from fd_router.runtime.patience import Patience
from fd_router.upstream.engines import MAX_ANSWER_BYTES, EngineError, parsed

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from fd_router._core import Exchange, Head
    from fd_router.types import Headers
    from fd_router.upstream.relay import Upstream

PATH = "/v1/models"
FASTDEPLOY = "FastDeploy"
"""The owner that FastDeploy names in its list."""


@dataclass(frozen=True, slots=True)
class ModelList:
    """The entries of a list, each an object with a text `id`. LoRA adapters and aliases are entries like others."""

    entries: list[dict[str, Any]]

    @property
    def names(self) -> tuple[str, ...]:
        """The ids, in their order; the first is what an engine takes a request for that names none."""
        return tuple(dict.fromkeys(entry["id"] for entry in self.entries))

    @property
    def takes_others(self) -> bool:
        """Whether the engine serves any name as its model: FastDeploy does where it was given no served name.

        Its list has the path of the model as the name then (`ModelPath.verification` in its `serving_models.py`).
        """
        return bool(self.entries) and all(
            entry.get("owned_by") == FASTDEPLOY and entry.get("root") == entry["id"] for entry in self.entries
        )


async def read_model_list(upstream: Upstream, url: str, *, key: str, timeout_secs: float) -> ModelList:
    """Ask the engine at `url`, with `key` as Bearer unless it is empty.

    Bounded in bytes and over all in seconds. Raises `UpstreamError`; `EngineError` for an answer that is no list, or
    has nothing in it.
    """
    headers: Headers = [(b"authorization", b"Bearer " + key.encode())] if key else []
    exchange = upstream.ask(url + PATH, headers)
    limit = Patience(timeout_secs, exchange.cancel)
    try:
        head = await exchange.head()
        body = head.body if head.body is not None else await _long(exchange)
    except UpstreamError as error:
        if limit.spent:
            raise EngineError(f"no answer within {timeout_secs:g} s") from error
        raise
    finally:
        limit.cancel()
        exchange.cancel()
    return _parsed(head, body)


async def _long(exchange: Exchange) -> bytes:
    """The body of an answer that was not collected."""
    content = bytearray()

    async def keep(message: MutableMapping[str, Any]) -> None:
        content.extend(message.get("body", b""))
        if len(content) > MAX_ANSWER_BYTES:
            exchange.cancel()

    try:
        await exchange.forward(keep)
        return bytes(content)
    except UpstreamError as error:
        if len(content) > MAX_ANSWER_BYTES:
            raise EngineError(f"answer of more than {MAX_ANSWER_BYTES} bytes") from error
        raise
    finally:
        # The error holds this frame until a collector comes by.
        content.clear()


def _parsed(head: Head, body: bytes) -> ModelList:
    if not 200 <= head.status < 300:
        raise EngineError(f"status {head.status}")
    payload = parsed(body)
    entries = payload.get("data") if isinstance(payload, dict) else None
    if not isinstance(entries, list):
        raise EngineError("answer has no list 'data'")
    named = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
    if not named:
        raise EngineError("answer lists no model")
    return ModelList(named)
