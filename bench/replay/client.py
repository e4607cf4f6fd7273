"""The open loop: each request is sent when the trace says so, whatever the answers do."""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .trace import Asked

LIMIT = 120.0
"""Seconds after which an answer has failed."""
HEAD_END = b"\r\n\r\n"
USAGE = re.compile(rb'"usage":.*"cached_tokens":(\d+)')


@dataclass(frozen=True, slots=True)
class Served:
    """One answer, in seconds of the clock. First byte and end count from when the request was due."""

    late: float
    first: float
    whole: float
    prompt_tokens: int
    cached_tokens: int


class BadAnswerError(Exception):
    """An answer that is not 200, or that lacks its usage or its end."""


async def replay(
    ports: Sequence[int], requests: Sequence[Asked], speed: float
) -> tuple[list[Served], list[str]]:
    """Send all, `speed` times as dense as recorded; the good answers, and what was wrong with the others.

    Each goes to one of the `ports` by chance, the same in every run.
    """
    loop = asyncio.get_running_loop()
    chance = random.Random(len(requests))
    # Made before the start: many requests are due at one moment, and none should wait for another's text.
    payloads = [head(len(body := request.body())) + body for request in requests]
    start = loop.time() + 0.1
    tasks = []
    for request, payload in zip(requests, payloads, strict=True):
        due = start + request.at / speed
        await asyncio.sleep(due - loop.time())
        port = chance.choice(ports)
        tasks.append(asyncio.ensure_future(exchange(port, payload, due, request.input_tokens)))
    served, errors = [], []
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Served):
            served.append(result)
        elif isinstance(result, (OSError, asyncio.TimeoutError, BadAnswerError)):
            errors.append(repr(result))
        else:
            raise result
    return served, errors


def head(length: int) -> bytes:
    lines = (
        "POST /v1/completions HTTP/1.1",
        "host: replay",
        "connection: close",
        "content-type: application/json",
        f"content-length: {length}",
    )
    return "\r\n".join(lines).encode() + HEAD_END


async def exchange(port: int, payload: bytes, due: float, tokens: int) -> Served:
    """One request on its own connection."""
    return await asyncio.wait_for(untimed(port, payload, due, tokens), LIMIT)


async def untimed(port: int, payload: bytes, due: float, tokens: int) -> Served:
    clock = asyncio.get_running_loop().time
    late = clock() - due
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(payload)
        received = await reader.readuntil(HEAD_END)
        status = received.split(maxsplit=2)[1]
        # Engines send a stream's head before there is a token: the first byte is the body's.
        body = await reader.read(1 << 16)
        first = clock() - due
        while piece := await reader.read(1 << 16):
            body += piece
    except asyncio.IncompleteReadError as error:
        raise BadAnswerError("it ended within its head") from error
    finally:
        writer.close()
    usage = USAGE.search(body)
    if status != b"200" or usage is None or b"data: [DONE]" not in body:
        raise BadAnswerError(f"status {status.decode()}, ends with {body[-200:]!r}")
    return Served(late, first, clock() - due, tokens, int(usage[1]))
