"""Control calls to engines, on httpx: model lists and aborts."""

from __future__ import annotations

from typing import Any

import httpx
import orjson

CONCURRENCY = 64
"""Calls at once over all engines."""


class EngineApiError(Exception):
    """An engine did not give a usable answer; `str()` says why."""


class EngineApi:
    """Client of every engine's control endpoints. Environment proxies are not used."""

    def __init__(self, timeout_secs: float) -> None:
        self._client = httpx.AsyncClient(
            timeout=timeout_secs, trust_env=False, limits=httpx.Limits(max_connections=CONCURRENCY)
        )

    async def models(self, url: str) -> list[dict[str, Any]]:
        """The entries of an engine's `/v1/models`."""
        answer = await self._call("GET", f"{url}/v1/models")
        entries = answer.get("data")
        if not isinstance(entries, list):
            raise EngineApiError("answer has no list 'data'")
        return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]

    async def abort(self, url: str, body: bytes) -> dict[str, Any]:
        """An engine's answer to `/v1/abort_requests`."""
        return await self._call("POST", f"{url}/v1/abort_requests", body)

    async def _call(self, method: str, url: str, body: bytes | None = None) -> dict[str, Any]:
        headers = {"content-type": "application/json"} if body is not None else None
        try:
            answer = await self._client.request(method, url, content=body, headers=headers)
            answer.raise_for_status()
            payload = orjson.loads(answer.content)
        except (httpx.HTTPError, orjson.JSONDecodeError) as error:
            raise EngineApiError(str(error) or type(error).__name__) from error
        if not isinstance(payload, dict):
            raise EngineApiError("answer is not a JSON object")
        return payload

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
