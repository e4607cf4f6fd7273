"""A plain streaming proxy on granian and httpx, round robin over `BENCH_ENGINES`: what Python alone costs."""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HOP = {b"host", b"connection", b"content-length", b"transfer-encoding", b"keep-alive"}

engines = itertools.cycle(os.environ["BENCH_ENGINES"].split(","))
client = httpx.AsyncClient(
    timeout=None,
    trust_env=False,
    limits=httpx.Limits(max_connections=None, max_keepalive_connections=256),
)


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [pair for pair in scope["headers"] if pair[0] not in HOP]
    request = client.build_request(
        scope["method"], next(engines) + scope["path"], headers=headers, content=body
    )
    answer = await client.send(request, stream=True)
    try:
        kept = [(name.lower(), value) for name, value in answer.headers.raw if name.lower() not in HOP]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
        async for chunk in answer.aiter_raw():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        await answer.aclose()


async def lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await client.aclose()
    await send({"type": "lifespan.shutdown.complete"})
