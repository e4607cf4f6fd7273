"""The gate: order, bounds, and nothing lost on any way out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fd_router.config import LogConfig, ServerConfig
from fd_router.edge.body import MIB
from fd_router.edge.overload import Overload
from fd_router.errors import CrowdedError, DrainingError, OverloadedError
from fd_router.observe.logs import Log

Scene = Callable[[Overload], Awaitable[Any]]
QUEUE = 0.05
CONNECTIONS = 1_000


def run(scene: Scene, **server: Any) -> Any:
    """In the end the gate holds nothing."""
    log = Log(LogConfig(level="error"))

    async def all_of_it() -> Any:
        gate = Overload(ServerConfig(port=1, **server), log, connections=CONNECTIONS)
        result = await asyncio.wait_for(scene(gate), 20)
        assert (gate.in_flight, gate.waiting, gate.body_bytes, len(gate._queue)) == (0, 0, 0, 0)
        return result

    try:
        return asyncio.run(all_of_it())
    finally:
        log.close()


async def refused(gate: Overload) -> str:
    with pytest.raises(OverloadedError) as told:
        await gate.enter()
    return str(told.value)


def test_more_connections_than_are_served_are_told_to_end() -> None:
    """Those that wait in the queue count too: they hold theirs."""

    async def scene(gate: Overload) -> None:
        waiting = [asyncio.ensure_future(gate.enter()) for _ in range(CONNECTIONS)]
        await asyncio.sleep(0)
        assert (gate.in_flight, gate.waiting) == (2, CONNECTIONS - 2)
        with pytest.raises(CrowdedError, match=r"server\.max-connections, ulimit -n"):
            await gate.enter()
        assert (b"connection", b"close") in CrowdedError.headers
        for each in waiting:
            await each
            gate.leave()

    run(scene, max_in_flight=2, queue_timeout_secs=20)


def test_more_than_the_limit_is_turned_away_at_once() -> None:
    async def scene(gate: Overload) -> str:
        await gate.enter()
        await gate.enter()
        why = await refused(gate)
        gate.leave()
        await gate.enter()
        gate.leave()
        gate.leave()
        return why

    assert (
        run(scene, max_in_flight=2) == "router is at its limit of 2 requests in flight (server.max-in-flight)"
    )


def test_no_limit() -> None:
    async def scene(gate: Overload) -> None:
        for _ in range(1000):
            await gate.enter()
        gate.take(1 << 40)
        gate.take(1 << 40)
        gate.give_back(1 << 41)
        for _ in range(1000):
            gate.leave()

    run(scene, max_in_flight=0, max_body_memory_mb=0)


def test_who_waits_comes_in_in_order_and_nobody_overtakes() -> None:
    async def scene(gate: Overload) -> list[int]:
        order: list[int] = []

        async def one(number: int) -> None:
            await gate.enter()
            order.append(number)
            # Somebody new asks in the moment in which the place is given away.
            gate.leave()

        await gate.enter()
        waiting = [asyncio.ensure_future(one(number)) for number in range(5)]
        await asyncio.sleep(0)
        assert gate.waiting == 5
        gate.leave()
        late = asyncio.ensure_future(one(5))
        await asyncio.gather(*waiting, late)
        return order

    assert run(scene, max_in_flight=1, queue_timeout_secs=10.0) == [0, 1, 2, 3, 4, 5]


def test_nobody_waits_for_longer() -> None:
    async def scene(gate: Overload) -> None:
        loop = asyncio.get_running_loop()
        await gate.enter()
        start = loop.time()
        told = await asyncio.gather(*(refused(gate) for _ in range(3)))
        assert loop.time() - start + 0.001 >= QUEUE
        assert {"server.max-in-flight" in why and "server.queue-timeout-secs" in why for why in told} == {
            True
        }
        gate.leave()
        await gate.enter()
        gate.leave()

    run(scene, max_in_flight=1, queue_timeout_secs=QUEUE)


def test_each_waits_for_its_own_time() -> None:
    async def scene(gate: Overload) -> None:
        await gate.enter()
        first = asyncio.ensure_future(refused(gate))
        await asyncio.sleep(QUEUE / 2)
        second = asyncio.ensure_future(gate.enter())
        await first
        assert not second.done()
        gate.leave()
        await second
        gate.leave()

    run(scene, max_in_flight=1, queue_timeout_secs=QUEUE * 4)


def test_a_stop_gives_a_fresh_period() -> None:
    """As after SIGSTOP: the timer comes far too late, and everybody waits once more."""

    async def scene(gate: Overload) -> float:
        loop = asyncio.get_running_loop()
        await gate.enter()
        waiting = asyncio.ensure_future(refused(gate))
        await asyncio.sleep(0)
        until = loop.time() + QUEUE + 0.6
        while loop.time() < until:  # the loop is held up
            pass
        resumed = loop.time()
        await waiting
        gate.leave()
        return loop.time() - resumed

    assert run(scene, max_in_flight=1, queue_timeout_secs=QUEUE) >= QUEUE - 0.001


@pytest.mark.parametrize("granted", [False, True])
def test_one_that_gives_up_leaves_its_place(granted: bool) -> None:
    async def scene(gate: Overload) -> None:
        await gate.enter()
        waiting = asyncio.ensure_future(gate.enter())
        other = asyncio.ensure_future(gate.enter())
        await asyncio.sleep(0)
        if granted:
            gate.leave()
        waiting.cancel()
        if not granted:
            await asyncio.sleep(0)
            gate.leave()
        await other
        assert waiting.cancelled()
        gate.leave()

    run(scene, max_in_flight=1, queue_timeout_secs=10.0)


def test_the_end_sends_everybody_away() -> None:
    async def scene(gate: Overload) -> None:
        await gate.enter()
        waiting = [asyncio.ensure_future(gate.enter()) for _ in range(3)]
        await asyncio.sleep(0)
        gate.drain()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in told] == [DrainingError] * 3
        with pytest.raises(DrainingError):
            await gate.enter()
        gate.leave()

    run(scene, max_in_flight=1, queue_timeout_secs=10.0)


def test_bodies_are_bounded_in_bytes_but_one_alone_has_room() -> None:
    async def scene(gate: Overload) -> None:
        gate.take(3 * MIB)
        gate.take(2 * MIB, 3 * MIB)
        with pytest.raises(OverloadedError, match="1 MiB of bodies"):
            gate.take(1)
        gate.give_back(5 * MIB)
        gate.take(MIB - 1)
        gate.take(1)
        with pytest.raises(OverloadedError):
            gate.take(1)
        gate.give_back(MIB)

    run(scene, max_body_memory_mb=1)


def test_who_waits_has_the_room_of_new_limits() -> None:
    async def scene(gate: Overload) -> None:
        await gate.enter()
        waiting = [asyncio.ensure_future(gate.enter()) for _ in range(3)]
        await asyncio.sleep(0)
        gate.reconfigure(ServerConfig(port=1, max_in_flight=3, queue_timeout_secs=20))
        await asyncio.sleep(0)
        assert (gate.in_flight, gate.waiting) == (3, 1)
        gate.reconfigure(ServerConfig(port=1, max_in_flight=0))
        await asyncio.gather(*waiting)
        for _ in range(4):
            gate.leave()

    run(scene, max_in_flight=1, queue_timeout_secs=20)


def test_who_waits_does_so_no_longer_than_others_will() -> None:
    async def scene(gate: Overload) -> None:
        await gate.enter()
        waiting = asyncio.ensure_future(refused(gate))
        await asyncio.sleep(0)
        gate.reconfigure(ServerConfig(port=1, max_in_flight=1, queue_timeout_secs=QUEUE))
        assert f"for {QUEUE:g} s" in await waiting
        gate.leave()

    run(scene, max_in_flight=1, queue_timeout_secs=3600)


def test_fewer_than_are_served_let_nobody_in_until_there_is_room() -> None:
    async def scene(gate: Overload) -> None:
        for _ in range(3):
            await gate.enter()
        gate.reconfigure(ServerConfig(port=1, max_in_flight=2))
        assert "2 requests in flight" in await refused(gate)
        gate.leave()
        await refused(gate)
        gate.leave()
        await gate.enter()
        for _ in range(2):
            gate.leave()

    run(scene, max_in_flight=3)
