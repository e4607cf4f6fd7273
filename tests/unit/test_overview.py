"""`/status` and `/workers` of a large fleet hold nobody up."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from fd_router.edge.overview import PIECE, Overview, Told
from fd_router.observe.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fd_router.downstream.client import Client
    from fd_router.fleet.rows import Row

WORKERS = 10 * PIECE


class Fleet:
    """Stands in for `Rows`."""

    def __init__(self) -> None:
        self.made = 0

    def each(self, _: object) -> Iterator[Row]:
        for number in range(WORKERS):
            self.made += 1
            yield {"url": str(number)}


class Asking:
    """Stands in for a client."""

    payload: Any = None

    async def answer_json(self, _status: int, payload: object) -> None:
        self.payload = payload


def test_rows_are_made_in_pieces_between_which_others_are_served() -> None:
    fleet = Fleet()
    nothing = cast("Any", None)
    told = Told("", {}, 0, 0)
    overview = Overview(
        told,
        rows=cast("Any", fleet),
        pulse=nothing,
        metrics=Metrics(),
        overload=nothing,
        scheduler=nothing,
        missing=lambda: None,
        cluster=None,
    )
    seen: list[int] = []

    async def watch() -> None:
        while fleet.made < WORKERS:
            seen.append(fleet.made)
            await asyncio.sleep(0)

    async def ask() -> Asking:
        client = Asking()
        watching = asyncio.create_task(watch())
        await overview.workers(cast("Client", client))
        await watching
        return client

    client = asyncio.run(ask())
    assert [row["url"] for row in client.payload["workers"]] == [str(number) for number in range(WORKERS)]
    steps = [after - before for before, after in pairwise(seen)]
    assert len(seen) >= WORKERS // PIECE - 1
    assert max(steps) <= PIECE
