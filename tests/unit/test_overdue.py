"""Notice of what is not over in time, none of the rest."""

from __future__ import annotations

import asyncio

from fd_router.runtime.overdue import OverdueWatch

DELAY = 0.02


class Item:
    """Remembers when it was told, and how often."""

    def __init__(self) -> None:
        self.told: list[float] = []
        self.once = asyncio.Event()

    def overdue(self) -> None:
        self.told.append(asyncio.get_running_loop().time())
        self.once.set()


def test_tells_only_what_is_not_over_and_once() -> None:
    async def scene() -> list[int]:
        watch = OverdueWatch(DELAY)
        items = [Item() for _ in range(6)]
        for item in items:
            watch.add(item)
        for item in items[::2]:
            watch.discard(item)
        await asyncio.wait_for(items[-1].once.wait(), 10)
        later = Item()
        watch.add(later)
        await asyncio.wait_for(later.once.wait(), 10)
        return [len(item.told) for item in items]

    assert asyncio.run(scene()) == [0, 1, 0, 1, 0, 1]


def test_what_ends_when_it_is_old_is_not_told() -> None:
    async def scene() -> list[float]:
        watch = OverdueWatch(DELAY)
        item, after = Item(), Item()
        watch.add(item)
        watch._turn()
        watch.discard(item)
        watch.add(after)
        await asyncio.wait_for(after.once.wait(), 10)
        return item.told

    assert asyncio.run(scene()) == []


def test_never_before_the_delay() -> None:
    async def scene() -> float:
        watch = OverdueWatch(DELAY)
        early, late, halfway = Item(), Item(), Item()
        watch.add(early)
        OverdueWatch(DELAY / 4).add(halfway)
        await asyncio.wait_for(halfway.once.wait(), 10)
        start = asyncio.get_running_loop().time()
        watch.add(late)
        await asyncio.wait_for(late.once.wait(), 10)
        return late.told[0] - start

    assert asyncio.run(scene()) >= DELAY * 0.99


def test_starts_anew_after_a_pause_and_rests_when_nothing_is_left() -> None:
    async def scene() -> int:
        watch = OverdueWatch(DELAY)
        for _ in range(3):
            item = Item()
            watch.add(item)
            await asyncio.wait_for(item.once.wait(), 10)
        return watch._turning + len(watch._young) + len(watch._old)

    assert asyncio.run(scene()) == 0


def test_one_that_fails_does_not_keep_the_others_from_being_told() -> None:
    class Failing(Item):
        def overdue(self) -> None:
            super().overdue()
            raise BaseException("panic")  # as a panic in Rust arrives

    async def scene() -> tuple[list[int], int]:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        watch = OverdueWatch(DELAY)
        items = [Failing() for _ in range(3)]
        for item in items:
            watch.add(item)
        for item in items:
            await asyncio.wait_for(item.once.wait(), 10)
        return [len(item.told) for item in items], len(told)

    assert asyncio.run(scene()) == ([1, 1, 1], 3)
