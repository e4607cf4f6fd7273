"""An exchange whose head fails is garbage once its request is over, and Python's collector sees that."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from dataclasses import replace

import pytest

from fd_router._core import UpstreamError
from fd_router.config import UpstreamConfig
from fd_router.upstream.relay import Upstream


class Request:
    """Stands for what a request's frame holds."""


async def fails(upstream: Upstream, url: str, found: list[weakref.ref[Request]]) -> None:
    request = Request()
    found.append(weakref.ref(request))
    exchange = upstream.send(url, [], b"", query=b"", collect=True)
    if "silent" in url:
        asyncio.get_running_loop().call_later(0.05, exchange.cancel)
    try:
        await exchange.head()
    finally:
        exchange.cancel()


@pytest.mark.parametrize("how", ["refused", "cancelled"])
def test_nothing_of_a_request_that_failed_is_left(how: str) -> None:
    async def scene() -> int:
        upstream = Upstream(replace(UpstreamConfig()), hop="garbage")
        found: list[weakref.ref[Request]] = []
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            if how == "cancelled":
                listener.listen()
            path = "silent" if how == "cancelled" else ""
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/{path}"
            for _ in range(5):
                with pytest.raises(UpstreamError, match=how):
                    await fails(upstream, url, found)
        await asyncio.sleep(0)
        gc.collect()
        left = sum(ref() is not None for ref in found)
        upstream.close()
        return left

    assert asyncio.run(scene()) == 0
