"""Endpoints that explain decisions: the last ones, and those about one request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from fd_router._core import MAX_DECISIONS
from fd_router.downstream import request_id
from fd_router.downstream.client import JSON
from fd_router.errors import BadRequestError, UnknownRequestError, printable

if TYPE_CHECKING:
    from fd_router._core import Scheduler
    from fd_router.downstream.client import Client

PATH = "/decisions"
LAST = 20
"""Decisions that are shown unless another number is asked for."""
SHOWN = 80
"""Characters of a request's id, or of what is wrong in a query, that an error repeats."""


class Decisions:
    """Shows what the scheduler keeps of its decisions. They become JSON beside the loop: there may be a thousand."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def last(self, client: Client) -> None:
        """`GET /decisions`."""
        count = last_of(client.query)
        loop = asyncio.get_running_loop()
        await _answer(client, await loop.run_in_executor(None, self._scheduler.last_decisions, count))

    async def about(self, client: Client) -> None:
        """`GET /decisions/{request_id}`."""
        sent = client.path.removeprefix(f"{PATH}/")
        loop = asyncio.get_running_loop()
        # As the client wrote it, it is known by what was made of that; what was made stays as it is.
        known = request_id.of_text(sent).value
        page = await loop.run_in_executor(None, self._scheduler.decisions_about, known)
        if page is None:
            raise UnknownRequestError(f"no decision is kept about a request {printable(sent[:SHOWN])}")
        await _answer(client, page)


def last_of(query: bytes) -> int:
    """How many decisions a query asks for. Raises `BadRequestError`."""
    count = LAST
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name != "last":
            raise BadRequestError(f"{printable(name[:SHOWN])}: no such parameter, accepted: last")
        known = value.isascii() and value.isdecimal() and len(value) <= len(str(MAX_DECISIONS))
        count = int(value) if known else 0
        if not 1 <= count <= MAX_DECISIONS:
            raise BadRequestError(
                f"last={printable(value[:SHOWN])}: accepted: a whole number from 1 to {MAX_DECISIONS}"
            )
    return count


async def _answer(client: Client, page: bytes) -> None:
    await client.answer(200, page, [(b"content-type", JSON), (b"content-length", b"%d" % len(page))])
