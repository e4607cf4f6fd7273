"""Probes, which go over connections of their own, and what clients' answers say of an engine meanwhile."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from fd_router._core import HOP_HEADER, UpstreamError
from fd_router.config import UpstreamConfig
from fd_router.upstream.relay import Upstream
from rig.raw_worker import reply, sse_head
from rig.relaying import Receiver, drive, until

if TYPE_CHECKING:
    from fd_router._core import Head, Relay
    from rig import Peer
    from rig.relaying import StartWorker


async def fetch(relay: Relay, url: str, **options: Any) -> Head:
    exchange = relay.send(url, [], b"", **options)
    return await exchange.head()


def heard(relay: Relay | Upstream, url: str) -> float:
    """Seconds since the engine was heard, which it was."""
    seconds = relay.heard(url)
    assert seconds is not None
    return seconds


async def heard_again(relay: Relay, url: str, before: float) -> None:
    """Wait until the engine was heard less than `before` seconds ago."""
    await until(lambda: heard(relay, url) < before)


def test_a_fresh_request_takes_no_kept_connection_and_leaves_none(raw_worker: StartWorker) -> None:
    worker = raw_worker(lambda peer: reply(b"{}"))

    async def run(relay: Relay) -> None:
        await fetch(relay, worker.url)
        for number in range(3):
            head = await fetch(relay, worker.url + "/state", method="GET", fresh=True)
            assert (head.status, head.body) == (200, b"{}")
            assert relay.stats().connections == 2 + number
            assert relay.stats().idle_connections == 1
        await until(lambda: worker.open_connections() == 1)
        await fetch(relay, worker.url)
        assert relay.stats().connections == 4

    drive(run)
    assert worker.hits[1].head.decode().split("\r\n") == [
        "GET /state HTTP/1.1",
        f"host: 127.0.0.1:{worker.port}",
        "connection: close",
        "",
        "",
    ]


def test_a_connection_of_a_fresh_request_closes_whatever_the_worker_says(raw_worker: StartWorker) -> None:
    closed = threading.Event()

    def answer(peer: Peer) -> None:
        peer.send(reply(b"{}", 200, "connection: keep-alive"))
        if peer.wait_closed():
            closed.set()

    worker = raw_worker(answer)

    async def run(relay: Relay) -> None:
        await fetch(relay, worker.url, fresh=True)
        await until(closed.is_set)
        assert relay.stats().idle_connections == 0

    drive(run)


def test_a_failed_fresh_request_is_not_sent_again(raw_worker: StartWorker) -> None:
    worker = raw_worker(lambda peer: peer.close())

    async def run(relay: Relay) -> None:
        with pytest.raises(UpstreamError, match="reset_before_head"):
            await fetch(relay, worker.url, fresh=True)

    drive(run)
    assert len(worker.hits) == 1


def test_when_an_engine_was_heard(raw_worker: StartWorker) -> None:
    worker = raw_worker(lambda peer: reply(b"{}"))

    async def run(relay: Relay) -> None:
        loop = asyncio.get_running_loop()
        urls = [worker.url, worker.url + "/v1/b?c", worker.url.upper().replace("HTTP", "http")]
        await fetch(relay, worker.url, fresh=True)
        assert {relay.heard(url) for url in urls} == {None}
        start = loop.time()
        await fetch(relay, worker.url)
        for url in urls:
            assert 0 <= heard(relay, url) <= loop.time() - start
        await until(lambda: heard(relay, worker.url) > 0.05)
        await fetch(relay, worker.url, fresh=True)
        assert heard(relay, worker.url) > 0.05
        start = loop.time()
        await fetch(relay, urls[1])
        assert heard(relay, worker.url) <= loop.time() - start
        assert relay.heard(f"http://localhost:{worker.port}") is None
        with pytest.raises(ValueError, match="url"):
            relay.heard("localhost")

    drive(run)


def test_each_byte_of_an_answer_is_heard(raw_worker: StartWorker) -> None:
    steps: list[threading.Event] = [threading.Event() for _ in range(4)]
    pieces = [b"HTTP/1.1 20", b"0 OK\r\ncontent-type: text/event-stream\r\n\r\n", b"data: 1\n\n", b""]

    def answer(peer: Peer) -> None:
        for step, piece in zip(steps, pieces, strict=True):
            step.wait(20)
            peer.send(piece)
        peer.close()

    worker = raw_worker(answer)

    async def run(relay: Relay) -> None:
        exchange = relay.send(worker.url, [], b"", collect=False)
        assert relay.heard(worker.url) is None
        steps[0].set()
        await until(lambda: relay.heard(worker.url) is not None)
        for step in steps[1:3]:
            await until(lambda: heard(relay, worker.url) > 0.05)
            before = heard(relay, worker.url)
            step.set()
            await heard_again(relay, worker.url, before)
        await exchange.head()
        end = exchange.forward(Receiver())
        steps[3].set()
        await end

    drive(run)


def test_bytes_that_waited_for_the_client_are_not_news(raw_worker: StartWorker) -> None:
    """What was read ahead of a slow client says when it was read, not when the client took it."""
    stop = threading.Event()

    def answer(peer: Peer) -> None:
        chunk = b"64\r\n" + b"x" * 100 + b"\r\n"
        peer.send(sse_head("transfer-encoding: chunked") + 2 * chunk)
        stop.wait(20)
        peer.send(b"0\r\n\r\n")

    worker = raw_worker(answer)

    async def run(relay: Relay) -> None:
        exchange = relay.send(worker.url, [], b"", collect=False)
        await exchange.head()
        await until(lambda: heard(relay, worker.url) > 0.1)
        assert relay.stats().chunks == 1
        receiver = Receiver()
        end = exchange.forward(receiver)
        await until(lambda: receiver.body == b"x" * 200)
        assert heard(relay, worker.url) > 0.1
        stop.set()
        await end

    drive(run, buffer_limit=100)


def test_the_routers_own_way(raw_worker: StartWorker) -> None:
    worker = raw_worker(lambda peer: reply(b"{}"))

    async def run() -> None:
        upstream = Upstream(UpstreamConfig(), hop="router-1")
        try:
            probe = upstream.ask(worker.url + "/state")
            assert (await probe.head()).body == b"{}"
            assert upstream.heard(worker.url) is None
            exchange = upstream.send(worker.url, [], b"{}", query=b"", collect=True)
            assert (await exchange.head()).body == b"{}"
            assert heard(upstream, worker.url) < 20
        finally:
            upstream.close()

    asyncio.run(run())
    assert [peer.method for peer in worker.hits] == ["GET", "POST"]
    assert worker.hits[0].header("connection") == ["close"]
    assert worker.hits[1].header(HOP_HEADER.decode()) == ["router-1"]
