"""An exchange that is given up closes its connection, in every phase and by every way."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING, Any

import pytest

from fd_router._core import UpstreamError
from rig.raw_worker import black_hole, reply
from rig.relaying import Receiver, drive, until

if TYPE_CHECKING:
    from fd_router._core import Exchange, Relay
    from rig import Peer
    from rig.relaying import StartWorker


class Phase:
    """A worker that stops at some point of its answer and sees whether the connection is closed."""

    def __init__(self, raw_worker: StartWorker, data: bytes) -> None:
        self.data = data
        self.reached = threading.Event()
        self.closed = threading.Event()
        self.worker = raw_worker(self.answer)

    def answer(self, peer: Peer) -> None:
        self.reached.set()
        try:
            peer.send(self.data)
        except OSError:
            self.closed.set()
            return
        if peer.wait_closed():
            self.closed.set()


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n"
PHASES = {
    "head": (b"", False),
    "collecting": (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", True),
    "mid-stream": (HEAD + b"half", False),
    "paused": (HEAD + b"x" * 20_000_000, False),
}


async def start(
    relay: Relay, phase: Phase, collect: bool, *, paused: bool
) -> tuple[Exchange, asyncio.Future[Any], Receiver]:
    """An exchange that is in its phase, with the future that waits."""
    exchange = relay.send(phase.worker.url, [], b"", collect=collect)
    receiver = Receiver()
    waiting: asyncio.Future[Any] = exchange.head()
    await until(phase.reached.is_set)
    if phase.data.startswith(HEAD):
        await waiting
        if paused:
            receiver.gate.clear()
        waiting = exchange.forward(receiver)
        await until(lambda: receiver.messages)
    elif phase.data:
        await until(lambda: relay.stats().bytes)
    return exchange, waiting, receiver


@pytest.mark.parametrize("way", ["cancel", "drop"])
@pytest.mark.parametrize("name", PHASES)
def test_the_connection_is_closed(raw_worker: StartWorker, name: str, way: str) -> None:
    data, collect = PHASES[name]
    phase = Phase(raw_worker, data)

    async def run(relay: Relay) -> None:
        exchange, waiting, receiver = await start(relay, phase, collect, paused=name == "paused")
        seen = len(receiver.messages)
        if way == "cancel":
            exchange.cancel()
            exchange.cancel()
        else:
            del exchange
            gc.collect()
        await until(phase.closed.is_set)
        with pytest.raises(UpstreamError) as caught:
            await waiting
        assert (caught.value.kind, caught.value.received) == ("cancelled", name != "head")
        await until(lambda: relay.stats().active == 0)
        assert name == "mid-stream" or len(receiver.messages) == seen
        receiver.gate.set()

    drive(run)


def test_while_connecting() -> None:
    async def run(relay: Relay) -> None:
        with black_hole() as port:
            exchange = relay.send(f"http://127.0.0.1:{port}/", [], b"")
            await asyncio.sleep(0)
            exchange.cancel()
            with pytest.raises(UpstreamError) as caught:
                await exchange.head()
            assert (caught.value.kind, caught.value.received) == ("cancelled", False)
            await until(lambda: relay.stats().active == 0)

    drive(run)


@pytest.mark.parametrize("name", PHASES)
def test_a_future_that_is_cancelled_gives_up_waiting_alone(raw_worker: StartWorker, name: str) -> None:
    """Who cancels an `await` cancels the exchange too; until then the connection stays."""
    data, collect = PHASES[name]
    phase = Phase(raw_worker, data)

    async def run(relay: Relay) -> None:
        exchange, waiting, receiver = await start(relay, phase, collect, paused=name == "paused")
        waiting.cancel()
        await asyncio.sleep(0)
        assert waiting.cancelled()
        assert relay.stats().active == 1
        exchange.cancel()
        await until(phase.closed.is_set)
        await until(lambda: relay.stats().active == 0)
        receiver.gate.set()

    drive(run)


def test_after_the_end_it_does_nothing(raw_worker: StartWorker) -> None:
    worker = raw_worker(lambda peer: reply(b"{}"))

    async def run(relay: Relay) -> None:
        exchange = relay.send(worker.url, [], b"")
        head = await exchange.head()
        exchange.cancel()
        assert head.body == b"{}"
        assert relay.stats().idle_connections == 1
        with pytest.raises(RuntimeError, match="asked for before"):
            exchange.head()

    drive(run)


def test_nothing_is_sent_after_a_cancel(raw_worker: StartWorker) -> None:
    phase = Phase(raw_worker, HEAD + b"half")

    async def run(relay: Relay) -> None:
        exchange = relay.send(phase.worker.url, [], b"", collect=False)
        await exchange.head()
        exchange.cancel()
        receiver = Receiver()
        with pytest.raises(UpstreamError):
            await exchange.forward(receiver)
        assert receiver.messages == []

    drive(run)


@pytest.mark.parametrize("name", PHASES)
def test_closing_the_relay_ends_every_exchange(raw_worker: StartWorker, name: str) -> None:
    data, collect = PHASES[name]
    phase = Phase(raw_worker, data)

    async def run(relay: Relay) -> None:
        _exchange, waiting, receiver = await start(relay, phase, collect, paused=name == "paused")
        relay.close()
        relay.close()
        with pytest.raises(UpstreamError) as caught:
            await waiting
        assert (caught.value.kind, caught.value.received) == ("closed", name != "head")
        await until(phase.closed.is_set)
        with pytest.raises(UpstreamError) as caught:
            await relay.send(phase.worker.url, [], b"").head()
        assert (caught.value.kind, caught.value.received) == ("closed", False)
        receiver.gate.set()

    drive(run)


def test_a_thousand_at_once(raw_worker: StartWorker) -> None:
    """Every one of a thousand exchanges that are dropped while they wait is closed at the worker."""

    def answer(peer: Peer) -> None:
        peer.wait_closed()

    worker = raw_worker(answer)

    async def run(relay: Relay) -> None:
        exchanges = [relay.send(worker.url, [], b"") for _ in range(1000)]
        await until(lambda: len(worker.hits) == 1000)
        heads = [exchange.head() for exchange in exchanges]
        exchanges.clear()
        results = await asyncio.gather(*heads, return_exceptions=True)
        assert {getattr(result, "kind", None) for result in results} == {"cancelled"}
        await until(lambda: worker.open_connections() == 0 and relay.stats().active == 0)

    drive(run, first_byte_timeout_secs=60)
