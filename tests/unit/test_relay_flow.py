"""Handing bodies over: order, ends, callbacks, and a receiver that takes its time or fails."""

from __future__ import annotations

import asyncio
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from fd_router._core import UpstreamError
from rig.raw_worker import reply
from rig.relaying import Receiver, drive, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fd_router._core import Relay
    from rig import Peer
    from rig.relaying import StartWorker

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


class Gated:
    """A worker that sends a head, each piece when its event is set, and closes."""

    def __init__(self, raw_worker: StartWorker) -> None:
        self._pieces: list[tuple[threading.Event, bytes]] = []
        self.url = raw_worker(self._answer).url

    def add(self, data: bytes) -> threading.Event:
        event = threading.Event()
        self._pieces.append((event, data))
        return event

    def let_go(self) -> None:
        for event, _ in self._pieces:
            event.set()

    def _answer(self, peer: Peer) -> None:
        peer.send(STREAM)
        for event, data in self._pieces:
            assert event.wait(20)
            peer.send(data)
        peer.close()


@pytest.fixture
def gated(raw_worker: StartWorker) -> Iterator[Gated]:
    worker = Gated(raw_worker)
    yield worker
    worker.let_go()


def has_more_than(receiver: Receiver, number: int) -> bool:
    return len(receiver.messages) > number


def test_each_chunk_is_handed_over_as_it_comes(gated: Gated) -> None:
    events = [gated.add(b"data: %d\n\n" % i) for i in range(3)]
    close = gated.add(b"")

    async def run(relay: Relay) -> None:
        exchange = relay.send(gated.url, [], b"", collect=False)
        await exchange.head()
        receiver = Receiver()
        firsts: list[int] = []
        end = exchange.forward(receiver, lambda: firsts.append(len(receiver.messages)))
        for number, event in enumerate(events):
            assert not firsts or number
            event.set()
            await until(partial(has_more_than, receiver, number))
            assert receiver.messages[number] == {
                "type": "http.response.body",
                "body": b"data: %d\n\n" % number,
                "more_body": True,
            }
            assert exchange.tail == b" %d\n\n" % number
        close.set()
        await end
        assert (relay.stats().bytes, relay.stats().chunks) == (27, 3)
        assert receiver.ended
        assert len(firsts) == 1

    drive(run)


def test_what_came_before_forward_is_flushed_by_it(gated: Gated) -> None:
    gated.add(b"early").set()

    async def run(relay: Relay) -> None:
        exchange = relay.send(gated.url, [], b"", collect=False)
        await exchange.head()
        await until(lambda: relay.stats().active == 0)
        receiver = Receiver()
        await exchange.forward(receiver)
        assert receiver.messages == [{"type": "http.response.body", "body": b"early", "more_body": False}]

    drive(run)


def test_on_first_at_the_end_of_an_empty_body(raw_worker: StartWorker) -> None:
    worker = raw_worker(lambda peer: reply(b""))

    async def run(relay: Relay) -> None:
        for way in ("forward", "discard"):
            exchange = relay.send(worker.url, [], b"", collect=False)
            await exchange.head()
            calls: list[int] = []
            arguments = [Receiver()] if way == "forward" else []
            await getattr(exchange, way)(*arguments, partial(calls.append, 1))
            assert (calls, exchange.tail) == ([1], b"")

    drive(run)


def test_on_first_is_not_called_when_nothing_came(gated: Gated) -> None:
    async def run(relay: Relay) -> None:
        exchange = relay.send(gated.url, [], b"", collect=False)
        await exchange.head()
        calls: list[int] = []
        end = exchange.discard(lambda: calls.append(1))
        exchange.cancel()
        with pytest.raises(UpstreamError):
            await end
        assert calls == []

    gated.add(b"never")
    drive(run)


def test_discard_reads_to_the_end_and_the_connection_is_used_again(raw_worker: StartWorker) -> None:
    worker = raw_worker(lambda peer: reply(b"x" * 300_000))

    async def run(relay: Relay) -> None:
        for times in (1, 2):
            exchange = relay.send(worker.url, [], b"", collect=False)
            await exchange.head()
            calls: list[int] = []
            await exchange.discard(partial(calls.append, 1))
            assert (relay.stats().bytes, calls) == (times * 300_000, [1])

    drive(run)
    assert worker.connections == 1


@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_a_slow_receiver_stops_the_worker(
    raw_worker: StartWorker, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Of 64 MB the worker can send no more than buffers hold, until the receiver takes bytes again."""
    written: list[int] = []

    def answer(peer: Peer) -> None:
        peer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n")
        for _ in range(1024):
            peer.send(b"x" * 65_536)
            written.append(65_536)

    worker = raw_worker(answer)

    async def run(relay: Relay) -> None:
        exchange = relay.send(worker.url, [], b"", collect=False)
        await exchange.head()
        receiver = Receiver()
        receiver.gate.clear()
        end = exchange.forward(receiver)
        await until(lambda: receiver.messages)
        quiet, last = 0, -1
        while quiet < 20:
            await asyncio.sleep(0.01)
            quiet, last = (quiet + 1, last) if last == len(written) else (0, len(written))
        assert len(receiver.messages) == 1
        assert relay.stats().bytes <= 3 * 131_072
        assert sum(written) < 32 * 1024 * 1024
        receiver.gate.set()
        await end
        assert len(receiver.body) == 67_108_864
        assert max(len(message["body"]) for message in receiver.messages) <= 3 * 131_072

    drive(run, new_loop=new_loop, buffer_limit=65_536)


def test_a_send_that_fails_ends_the_exchange(gated: Gated) -> None:
    gated.add(b"data").set()
    gated.add(b"never")

    class GoneError(Exception):
        pass

    async def send(message: Any) -> None:
        raise GoneError

    def plain(message: Any) -> None:
        raise GoneError

    async def run(relay: Relay) -> None:
        receivers: list[Any] = [send, plain]
        for receiver in receivers:
            exchange = relay.send(gated.url, [], b"", collect=False)
            await exchange.head()
            with pytest.raises(GoneError):
                await exchange.forward(receiver)
            await until(lambda: relay.stats().active == 0)

    drive(run)


def test_bytes_before_a_failure_are_handed_over_first(raw_worker: StartWorker) -> None:
    def answer(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ndata: half a fra")
        peer.close()

    worker = raw_worker(answer)

    async def run(relay: Relay) -> None:
        exchange = relay.send(worker.url, [], b"", collect=False)
        await exchange.head()
        receiver = Receiver()
        receiver.gate.clear()
        end = exchange.forward(receiver)
        await until(lambda: receiver.messages and relay.stats().active == 0)
        assert not end.done()
        receiver.gate.set()
        with pytest.raises(UpstreamError) as caught:
            await end
        assert (caught.value.kind, caught.value.received) == ("reset_mid_body", True)
        assert (receiver.body, receiver.ended, exchange.tail) == (b"data: half a fra", False, b" fra")

    drive(run)


def test_misuse_is_told(raw_worker: StartWorker) -> None:
    worker = raw_worker(lambda peer: reply(b"{}"))

    async def run(relay: Relay) -> None:
        exchange = relay.send(worker.url, [], b"")
        await exchange.head()
        with pytest.raises(RuntimeError, match="collected"):
            exchange.forward(Receiver())
        exchange = relay.send(worker.url, [], b"", collect=False)
        await exchange.head()
        end = exchange.forward(Receiver())
        with pytest.raises(RuntimeError):
            exchange.discard()
        await end
        text: list[Any] = [("a", "b")]
        with pytest.raises(TypeError):
            relay.send(worker.url, text, b"")

    drive(run)


def test_a_thousand_streams_share_the_loop(raw_worker: StartWorker) -> None:
    def answer(peer: Peer) -> None:
        peer.send(STREAM)
        for i in range(5):
            peer.send(b"%s %d\n" % (peer.body, i))
        peer.close()

    worker = raw_worker(answer)

    async def one(relay: Relay, number: int) -> None:
        exchange = relay.send(worker.url, [], b"%d" % number, collect=False)
        await exchange.head()
        receiver = Receiver()
        await exchange.forward(receiver)
        assert receiver.body == b"".join(b"%d %d\n" % (number, i) for i in range(5))

    async def run(relay: Relay) -> None:
        await asyncio.gather(*(one(relay, number) for number in range(1000)))
        stats = relay.stats()
        assert stats.bytes == sum(len(b"%d %d\n" % (n, i)) for n in range(1000) for i in range(5))
        assert sum(stats.gap_buckets) == stats.chunks - 1000

    drive(run)
