"""Limits of time: kept, looked at twice, and begun anew where we were not there."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from fd_router.runtime.patience import Patience, is_late, within

LIMIT = 0.05


def held_up(secs: float) -> None:
    """The loop does nothing else, as in a process that is stopped."""
    until = time.monotonic() + secs
    while time.monotonic() < until:
        pass


@pytest.mark.parametrize(
    ("by", "limit", "late"), [(0.4, 1, False), (0.6, 1, True), (0.6, 10, False), (1.1, 10, True)]
)
def test_what_is_late(by: float, limit: float, late: bool) -> None:
    assert is_late(by, limit) is late


async def spent_after(limit: float, stop: float) -> float:
    """Seconds from the end of a stop to the action."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    patience = Patience(limit, over.set)
    if stop:
        await asyncio.sleep(0)
        held_up(stop)
    start = loop.time()
    await asyncio.wait_for(over.wait(), 20)
    assert patience.spent
    return loop.time() - start


def test_in_time() -> None:
    assert asyncio.run(spent_after(LIMIT, 0)) + 0.001 >= LIMIT


def test_after_a_stop_there_is_one_fresh_period() -> None:
    assert asyncio.run(spent_after(LIMIT, LIMIT + 0.6)) >= LIMIT - 0.001


def test_what_is_over_does_not_act() -> None:
    async def scene() -> bool:
        acted = asyncio.Event()
        patience = Patience(LIMIT, acted.set)
        await asyncio.sleep(LIMIT / 2)
        patience.cancel()
        await asyncio.sleep(2 * LIMIT)
        return acted.is_set()

    assert asyncio.run(scene()) is False


def test_work_that_is_done_while_the_process_is_stopped_counts() -> None:
    async def scene() -> str:
        here, there = await _connected()
        there[1].write(b"done\n")
        work = within(LIMIT, here[0].readuntil(b"\n"))
        task = asyncio.ensure_future(work)
        await asyncio.sleep(0)
        held_up(LIMIT + 0.6)
        line = await task
        for _, writer in (here, there):
            writer.close()
        return line.decode()

    assert asyncio.run(scene()) == "done\n"


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _connected() -> tuple[Stream, Stream]:
    a, b = socket.socketpair()
    return await asyncio.open_connection(sock=a), await asyncio.open_connection(sock=b)


def test_within_raises_and_cancels() -> None:
    async def scene() -> bool:
        cancelled = False

        async def work() -> None:
            nonlocal cancelled
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                cancelled = True
                raise

        with pytest.raises(asyncio.TimeoutError):
            await within(LIMIT, work())
        return cancelled

    assert asyncio.run(scene())


def test_within_hands_on_what_the_work_raises_and_its_own_end() -> None:
    async def fails() -> None:
        raise ValueError("x")

    async def scene() -> None:
        with pytest.raises(ValueError, match="x"):
            await within(LIMIT, fails())
        inner = asyncio.Event()

        async def waits() -> None:
            try:
                await asyncio.sleep(20)
            finally:
                inner.set()

        outer = asyncio.ensure_future(within(20, waits()))
        await asyncio.sleep(0.01)
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        assert inner.is_set()

    asyncio.run(scene())
