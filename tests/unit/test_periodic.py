"""A background round that fails, in whatever way, is told of and followed by the next one."""

from __future__ import annotations

import asyncio

import pytest

from fd_router.runtime.periodic import Periodic

INTERVAL = 0.005


class Panic(BaseException):
    """As a panic in Rust arrives in Python: not an `Exception`."""


def run(failures: list[BaseException]) -> list[BaseException]:
    """Rounds that fail so, one after another, and then succeed; what was reported."""

    async def scene() -> list[BaseException]:
        told: list[BaseException] = []
        well = asyncio.Event()
        rest = iter(failures)

        async def action(_late: float) -> None:
            failure = next(rest, None)
            if failure is not None:
                raise failure
            well.set()

        periodic = Periodic(INTERVAL, action, told.append)
        periodic.start()
        await asyncio.wait_for(well.wait(), 10)
        await asyncio.wait_for(periodic.stop(), 10)
        return told

    return asyncio.run(scene())


@pytest.mark.parametrize("failure", [ValueError("x"), Panic("x"), asyncio.CancelledError("x")])
def test_rounds_go_on(failure: BaseException) -> None:
    assert run([failure, failure]) == [failure, failure]


def test_stop_ends_a_round_under_way() -> None:
    async def scene() -> None:
        begun = asyncio.Event()

        async def action(_late: float) -> None:
            begun.set()
            await asyncio.Event().wait()

        told: list[BaseException] = []
        periodic = Periodic(INTERVAL, action, told.append)
        periodic.start()
        await asyncio.wait_for(begun.wait(), 10)
        await asyncio.wait_for(periodic.stop(), 10)
        assert told == []

    asyncio.run(scene())


@pytest.mark.parametrize("how", ["set_interval", "hurry"])
def test_a_round_can_be_had_sooner(how: str) -> None:
    async def scene() -> None:
        done = asyncio.Queue[float]()
        periodic = Periodic(3600, done.put, lambda error: None)
        periodic.start()
        await asyncio.sleep(0.01)  # by then it waits for an hour
        assert done.empty()
        if how == "hurry":
            periodic.hurry()
        else:
            periodic.set_interval(INTERVAL)
            await asyncio.wait_for(done.get(), 10)
        await asyncio.wait_for(done.get(), 10)
        await periodic.stop()

    asyncio.run(scene())


def test_a_longer_interval_begins_after_the_round_that_is_due() -> None:
    async def scene() -> None:
        done = asyncio.Queue[float]()
        periodic = Periodic(INTERVAL, done.put, lambda error: None)
        periodic.start()
        await asyncio.sleep(0)  # by then it waits for its first round
        periodic.set_interval(3600)
        await asyncio.wait_for(done.get(), 10)
        assert done.empty()
        await periodic.stop()

    asyncio.run(scene())
