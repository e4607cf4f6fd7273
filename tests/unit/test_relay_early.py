"""Requests that are written where they are ordered: on a kept connection, after a while without any."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fd_router._core import UpstreamError
from rig.raw_worker import reply
from rig.relaying import drive, until

if TYPE_CHECKING:
    from fd_router._core import Relay
    from rig import Peer
    from rig.relaying import StartWorker


REQUESTS = 50


def sleeps_of_the_relay() -> int:
    """How often the relay's thread of this process went to sleep."""
    (task,) = (
        task for task in Path("/proc/self/task").iterdir() if (task / "comm").read_text() == "fd-relay\n"
    )
    return int((task / "status").read_text().rpartition("\nvoluntary_ctxt_switches:")[2].split()[0])


def test_the_relay_wakes_for_the_answer_only(raw_worker: StartWorker) -> None:
    def answer(_peer: Peer) -> bytes:
        # Long enough for the relay's thread to sleep, and for the next request to come after a while without any.
        threading.Event().wait(0.005)
        return reply(b"")

    worker = raw_worker(answer)

    async def run(relay: Relay) -> float:
        before = 0
        for number in range(REQUESTS + 1):
            if number:
                await until(lambda: relay.stats().idle_connections == 1)
            if number == 1:
                before = sleeps_of_the_relay()
            exchange = relay.send(worker.url, [], b"")
            await exchange.head()
        return (sleeps_of_the_relay() - before) / REQUESTS

    assert 0.5 < drive(run) < 1.5


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("way", ["close", "cancel", "first_byte_timeout"])
def test_one_that_waits_ends(raw_worker: StartWorker, way: str, threads: int) -> None:
    held, gone = threading.Event(), threading.Event()

    def answer(peer: Peer) -> bytes | None:
        if len(worker.hits) == 1:
            return reply(b"")
        held.set()
        peer.wait_closed()
        gone.set()
        return None

    worker = raw_worker(answer)

    async def run(relay: Relay) -> None:
        first = relay.send(worker.url, [], b"")
        await first.head()
        await until(lambda: relay.stats().idle_connections == 1)
        exchange = relay.send(worker.url, [], b"")
        waiting = exchange.head()
        await until(held.is_set)
        if way == "close":
            relay.close()
        elif way == "cancel":
            exchange.cancel()
        kind = {"close": "closed", "cancel": "cancelled"}.get(way, way)
        with pytest.raises(UpstreamError) as caught:
            await waiting
        assert (caught.value.kind, caught.value.received) == (kind, False)
        await until(gone.is_set)
        await until(lambda: relay.stats().active == 0)

    drive(run, threads=threads, first_byte_timeout_secs=0.3 if way == "first_byte_timeout" else 0)
    assert worker.connections == 1
