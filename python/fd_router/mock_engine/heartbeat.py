"""Registers the engine with a router again and again, as a FastDeploy engine does.

The client is by hand, not httpx, which was tried: to import it doubles the time from an engine's start to its
first registration (70 ms became 157), and a beat costs four times the CPU (0.55 ms became 2.4). Most tests start
engines of their own and have them beat every 200 ms.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HEALTH_SECS = 3.0
REGISTER_SECS = 5.0
LENGTH = re.compile(rb"\r\ncontent-length: *(\d{1,6})\r\n", re.IGNORECASE)


def router_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT` or `http://HOST:PORT`. Raises `ValueError`."""
    host, _, port = text.removeprefix("http://").rstrip("/").rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"--router is {text!r}; accepted: HOST:PORT or http://HOST:PORT")
    return host.strip("[]"), int(port)


async def exchange(
    address: tuple[str, int], method: str, path: str, body: bytes, timeout: float
) -> tuple[int, bytes]:
    """One HTTP request on its own connection: status and body. Raises `OSError` or `asyncio.TimeoutError`."""
    host, port = address
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )

    async def talk() -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = LENGTH.search(answer)
            size = int(length[1]) if length else -1
            return answer, await reader.read(size) if size < 0 else await reader.readexactly(size)
        finally:
            writer.close()

    try:
        answer, answer_body = await asyncio.wait_for(talk(), timeout)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise ConnectionError(f"{host}:{port} broke off its answer: {error}") from error
    words = answer.partition(b"\r\n")[0].split()
    if len(words) < 2 or not words[1].isdigit():
        raise ConnectionError(f"{host}:{port} answered {answer[:60]!r}")
    return int(words[1]), answer_body


async def heartbeat(
    router: tuple[str, int],
    own: tuple[str, int],
    body: dict[str, object],
    period: float,
    registered: Callable[[], None],
) -> None:
    """Register every `period` seconds while the engine's own /health answers; else wait twice that."""
    payload, last = json.dumps(body).encode(), ""
    while True:
        healthy = await is_healthy(own)
        if healthy:
            failure = await register(router, payload)
            if not failure:
                registered()
            elif failure != last:
                print(f"register: {failure}", file=sys.stderr, flush=True)
            last = failure
        await asyncio.sleep(period if healthy else 2 * period)


async def is_healthy(own: tuple[str, int]) -> bool:
    """Whether the engine's own /health answers 200."""
    try:
        status, _ = await exchange(own, "GET", "/health", b"", HEALTH_SECS)
    except (OSError, asyncio.TimeoutError):
        return False
    return status == 200


async def register(router: tuple[str, int], payload: bytes) -> str:
    """Register once; what went wrong, or an empty string."""
    try:
        status, answer = await exchange(router, "POST", "/register", payload, REGISTER_SECS)
    except (OSError, asyncio.TimeoutError) as error:
        return f"{router[0]}:{router[1]}: {error or 'no answer'}"
    return (
        ""
        if status < 400
        else f"{router[0]}:{router[1]} answered {status}: {answer.decode(errors='replace')}"
    )
