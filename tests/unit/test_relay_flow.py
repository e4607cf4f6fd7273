"""Handing bodies over: order, ends, callbacks, and a receiver that takes its time or fails."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
import uvloop

from fd_router._core import UpstreamError
from rig.raw_worker import reply
from rig.relaying import Receiver, drive, until

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


@pytest.fixture
def gated(raw_worker):
    """A worker that sends a head, each piece when its event is set, and closes. `add` adds a piece."""
    pieces: list[tuple[threading.Event, bytes]] = []

    def answer(peer):
        peer.send(STREAM)
        for event, data in pieces:
            assert event.wait(20)
            peer.send(data)
        peer.close()

    worker = raw_worker(answer)

    def add(data: bytes) -> threading.Event:
        event = threading.Event()
        pieces.append((event, data))
        return event

    worker.add = add
    yield worker
    for event, _ in pieces:
        event.set()


def test_each_chunk_is_handed_over_as_it_comes(gated):
    events = [gated.add(b"data: %d\n\n" % i) for i in range(3)]
    close = gated.add(b"")

    async def run(relay):
        exchange = relay.send(gated.url, [], b"", collect=False)
        await exchange.head
        receiver, firsts = Receiver(), []
        end = exchange.forward(receiver, lambda: firsts.append(len(receiver.messages)))
        for number, event in enumerate(events):
            assert not firsts or number
            event.set()
            await until(lambda number=number: len(receiver.messages) > number)
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


def test_what_came_before_forward_is_flushed_by_it(gated):
    gated.add(b"early").set()

    async def run(relay):
        exchange = relay.send(gated.url, [], b"", collect=False)
        await exchange.head
        await until(lambda: relay.stats().active == 0)
        receiver = Receiver()
        await exchange.forward(receiver)
        assert receiver.messages == [{"type": "http.response.body", "body": b"early", "more_body": False}]

    drive(run)


def test_on_first_at_the_end_of_an_empty_body(raw_worker):
    worker = raw_worker(lambda peer: reply(b""))

    async def run(relay):
        for way in ("forward", "discard"):
            exchange = relay.send(worker.url, [], b"", collect=False)
            await exchange.head
            calls: list[int] = []
            arguments = [Receiver()] if way == "forward" else []
            await getattr(exchange, way)(*arguments, lambda calls=calls: calls.append(1))
            assert (calls, exchange.tail) == ([1], b"")

    drive(run)


def test_on_first_is_not_called_when_nothing_came(gated):
    async def run(relay):
        exchange = relay.send(gated.url, [], b"", collect=False)
        await exchange.head
        calls: list[int] = []
        end = exchange.discard(lambda: calls.append(1))
        exchange.cancel()
        with pytest.raises(UpstreamError):
            await end
        assert calls == []

    gated.add(b"never")
    drive(run)


def test_discard_reads_to_the_end_and_the_connection_is_used_again(raw_worker):
    worker = raw_worker(lambda peer: reply(b"x" * 300_000))

    async def run(relay):
        for times in (1, 2):
            exchange = relay.send(worker.url, [], b"", collect=False)
            await exchange.head
            calls: list[int] = []
            await exchange.discard(lambda calls=calls: calls.append(1))
            assert (relay.stats().bytes, calls) == (times * 300_000, [1])

    drive(run)
    assert worker.connections == 1


@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_a_slow_receiver_stops_the_worker(raw_worker, new_loop):
    """Of 64 MB the worker can send no more than buffers hold, until the receiver takes bytes again."""
    written = []

    def answer(peer):
        peer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n")
        for _ in range(1024):
            peer.send(b"x" * 65_536)
            written.append(65_536)

    worker = raw_worker(answer)

    async def run(relay):
        exchange = relay.send(worker.url, [], b"", collect=False)
        await exchange.head
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


def test_a_send_that_fails_ends_the_exchange(gated):
    gated.add(b"data").set()
    gated.add(b"never")

    class GoneError(Exception):
        pass

    async def send(message):
        raise GoneError

    def plain(message):
        raise GoneError

    async def run(relay):
        for receiver in (send, plain):
            exchange = relay.send(gated.url, [], b"", collect=False)
            await exchange.head
            with pytest.raises(GoneError):
                await exchange.forward(receiver)
            await until(lambda: relay.stats().active == 0)

    drive(run)


def test_bytes_before_a_failure_are_handed_over_first(raw_worker):
    def answer(peer):
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ndata: half a fra")
        peer.close()

    worker = raw_worker(answer)

    async def run(relay):
        exchange = relay.send(worker.url, [], b"", collect=False)
        await exchange.head
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


def test_misuse_is_told(raw_worker):
    worker = raw_worker(lambda peer: reply(b"{}"))

    async def run(relay):
        exchange = relay.send(worker.url, [], b"")
        await exchange.head
        with pytest.raises(RuntimeError, match="collected"):
            exchange.forward(Receiver())
        exchange = relay.send(worker.url, [], b"", collect=False)
        await exchange.head
        end = exchange.forward(Receiver())
        with pytest.raises(RuntimeError):
            exchange.discard()
        await end
        with pytest.raises(TypeError):
            relay.send(worker.url, [("a", "b")], b"")

    drive(run)


def test_a_thousand_streams_share_the_loop(raw_worker):
    def answer(peer):
        peer.send(STREAM)
        for i in range(5):
            peer.send(b"%s %d\n" % (peer.body, i))
        peer.close()

    worker = raw_worker(answer)

    async def one(relay, number):
        exchange = relay.send(worker.url, [], b"%d" % number, collect=False)
        await exchange.head
        receiver = Receiver()
        await exchange.forward(receiver)
        assert receiver.body == b"".join(b"%d %d\n" % (number, i) for i in range(5))

    async def run(relay):
        await asyncio.gather(*(one(relay, number) for number in range(1000)))
        stats = relay.stats()
        assert stats.bytes == sum(len(b"%d %d\n" % (n, i)) for n in range(1000) for i in range(5))
        assert sum(stats.gap_buckets) == stats.chunks - 1000

    drive(run)
