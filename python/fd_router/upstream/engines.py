"""HTTP calls to engines, and to services beside them, that carry no client's request: the one place that knows httpx.

All of them ignore the environment's proxies, which are no way to an engine, follow no redirection, and are bounded: one
limit of time over the whole call, however its bytes trickle, and one of size.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import orjson

from fd_router.runtime.patience import within

if TYPE_CHECKING:
    from fd_router.upstream.trust import Trust

MAX_ANSWER_BYTES = 4 << 20
"""The longest answer that is read: a page of metrics of a large engine has some hundred KiB."""


CALLS_AT_ONCE = 256
"""Engines that a control call is sent to at once; each has its whole time, as the others are sent to after them."""
MAX_CALL_BYTES = 65_536
"""The longest answer to one: a few words, and there is one of every engine."""


class EngineError(Exception):
    """An engine, or a service, gave no usable answer; `str()` says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    content: bytes

    def require_success(self) -> None:
        """Raise `EngineError` for any status but 2xx."""
        if not 200 <= self.status < 300:
            raise EngineError(f"status {self.status}")


class EngineClient:
    """Calls engines over at most `connections` connections at once; more calls wait within their limit of time."""

    def __init__(
        self, timeout_secs: float, *, connections: int, trust: Trust, max_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self.timeout_secs = timeout_secs
        """Of a call that begins from now on."""
        self._connections = connections
        self._trust = trust
        self._max_bytes = max_bytes
        self._context: ssl.SSLContext | None = None
        # Until https is first spoken there are no roots to be read.
        self._client = self._new_client(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def _new_client(self, context: ssl.SSLContext) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=self._connections, max_keepalive_connections=self._connections)
        return httpx.AsyncClient(
            timeout=None,  # one limit over the whole call, below
            trust_env=False,
            follow_redirects=False,
            verify=context,
            # A few bytes may unfold to any number of them.
            headers={"accept-encoding": "identity"},
            limits=limits,
        )

    async def ask(self, method: str, url: str, body: bytes | None) -> Answer:
        """Ask by any method, with JSON or no body. Raises as `get` does."""
        return await self._call(method, url, body)

    async def get(self, url: str) -> Answer:
        """Ask. Raises `EngineError` where there is no whole answer in time, whatever its status would be."""
        return await self._call("GET", url, None)

    async def post(self, url: str, body: bytes) -> Answer:
        """Send JSON. Raises as `get` does."""
        return await self._call("POST", url, body)

    async def _call(self, method: str, url: str, body: bytes | None) -> Answer:
        try:
            return await within(self.timeout_secs, self._exchange(method, url, body))
        except asyncio.TimeoutError as error:
            raise EngineError(f"no answer within {self.timeout_secs:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise EngineError(str(error) or type(error).__name__) from error

    async def _exchange(self, method: str, url: str, body: bytes | None) -> Answer:
        if url.startswith("https:"):
            self._use(await self._trust.context())
        headers = {"content-type": "application/json"} if body is not None else None
        async with self._client.stream(method, url, content=body, headers=headers) as answer:
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise EngineError("answer is compressed, which was not asked for")
            content = bytearray()
            try:
                async for piece in answer.aiter_raw():
                    content += piece
                    if len(content) > self._max_bytes:
                        raise EngineError(f"answer of more than {self._max_bytes} bytes")
                return Answer(answer.status_code, bytes(content))
            finally:
                # An error holds this frame, and asyncio the error in a circle, until the collector comes by, which is
                # seldom: answers that are not wanted would add up.
                del content

    def _use(self, context: ssl.SSLContext) -> None:
        """Verify new connections with these roots; calls under way end as they began."""
        if context is self._context:
            return
        before, self._client, self._context = self._client, self._new_client(context), context
        loop = asyncio.get_running_loop()
        # By then no call of its is under way.
        loop.call_later(self.timeout_secs, lambda: loop.create_task(before.aclose()))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class EngineApi:
    """The control endpoints of every engine: aborts, and calls that take their time."""

    CONNECTIONS = 64

    def __init__(self, timeout_secs: float, trust: Trust, *, control_timeout_secs: float) -> None:
        self._client = EngineClient(timeout_secs, connections=self.CONNECTIONS, trust=trust)
        self._slow = EngineClient(
            control_timeout_secs, connections=CALLS_AT_ONCE, trust=trust, max_bytes=MAX_CALL_BYTES
        )

    def reconfigure(self, timeout_secs: float) -> None:
        """Wait for another time."""
        self._client.timeout_secs = timeout_secs

    async def abort(self, url: str, body: bytes) -> dict[str, Any]:
        """An engine's answer to `/v1/abort_requests`. Raises `EngineError`."""
        return _object(await self._client.post(f"{url}/v1/abort_requests", body))

    async def control(self, method: str, url: str, body: bytes) -> Answer:
        """An engine's answer to such a call, whatever its status. Raises `EngineError`."""
        return await self._slow.ask(method, url, body or None)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
        await self._slow.close()


def parsed(content: bytes) -> Any:
    """What JSON says, where the router may say it again in an answer of its own. Raises `EngineError`."""
    try:
        value = orjson.loads(content)
        # It reads deeper nesting than it writes, and an answer that has this in it is some levels deeper.
        orjson.dumps([[[[value]]]])
    except orjson.JSONDecodeError as error:
        raise EngineError(f"answer is not JSON: {error}") from error
    except orjson.JSONEncodeError as error:
        raise EngineError(f"answer is nested too deeply: {error}") from error
    return value


def _object(answer: Answer) -> dict[str, Any]:
    answer.require_success()
    payload = parsed(answer.content)
    if not isinstance(payload, dict):
        raise EngineError("answer is not a JSON object")
    return payload
