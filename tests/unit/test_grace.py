"""Grace: callbacks about what is not over in time, none about the rest."""

from __future__ import annotations

import asyncio

from fd_router.grace import Grace

DELAY = 0.02


def test_calls_back_only_about_what_is_not_over() -> None:
    async def scene() -> list[int]:
        grace = Grace(DELAY)
        called: list[int] = []
        last = asyncio.Event()
        pending = [grace.add(lambda number=number: called.append(number)) for number in range(6)]  # type: ignore[misc]
        for entry in pending[::2]:
            entry.cancel()
        grace.add(last.set)
        await asyncio.wait_for(last.wait(), 10)
        return called

    assert asyncio.run(scene()) == [1, 3, 5]


def test_never_before_the_delay() -> None:
    async def scene() -> float:
        loop = asyncio.get_running_loop()
        grace = Grace(DELAY)
        first, second = asyncio.Event(), asyncio.Event()
        grace.add(first.set)
        halfway = asyncio.Event()
        Grace(DELAY / 2).add(halfway.set)
        await asyncio.wait_for(halfway.wait(), 10)
        start = loop.time()
        grace.add(second.set)
        await asyncio.wait_for(second.wait(), 10)
        return loop.time() - start

    assert asyncio.run(scene()) >= DELAY * 0.99


def test_starts_anew_after_a_pause() -> None:
    async def scene() -> int:
        grace = Grace(DELAY)
        count = 0
        for _ in range(3):
            done = asyncio.Event()
            grace.add(done.set)
            await asyncio.wait_for(done.wait(), 10)
            count += 1
        return count

    assert asyncio.run(scene()) == 3
