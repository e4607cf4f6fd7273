"""The relay behind granian, round robin over `BENCH_ENGINES`: nothing is decided, logged or counted.

Bodies are scanned, as a stream is answered in another way than a short answer. A router of this shape hardly can
cost less.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fd_router._core import Request, RequestHead
from fd_router.config import UpstreamConfig
from fd_router.runtime import memory
from fd_router.upstream.relay import Upstream

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

engines = itertools.cycle(os.environ["BENCH_ENGINES"].split(","))
upstreams: list[Upstream] = []


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    body = await whole_body(scope, receive)
    request = Request.scan(body, chat=True)
    url = next(engines) + scope["path"]
    exchange = upstreams[0].send(
        url, scope["headers"], body, query=scope["query_string"], collect=not request.stream
    )
    try:
        head = await exchange.head()
        if head.body is None:
            await exchange.forward(send, None, head)
        elif (pending := exchange.answer(send, head)) is not None:
            await pending
    finally:
        exchange.cancel()


async def whole_body(scope: Message, receive: Receive) -> bytes:
    """The body. With a known length its end is known without asking the server once more, which wakes two threads."""
    announced = RequestHead(scope["headers"], scope["http_version"]).length
    pieces: list[bytes] = []
    size, more = 0, True
    while more and (announced is None or size < announced):
        message = await receive()
        pieces.append(message["body"])
        size += len(pieces[-1])
        more = message["more_body"]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def lifespan(receive: Receive, send: Send) -> None:
    await receive()
    upstream = Upstream(UpstreamConfig(), hop="bench")
    upstreams.append(upstream)
    memory.settle()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    upstream.close()
    await send({"type": "lifespan.shutdown.complete"})
