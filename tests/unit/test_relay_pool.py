"""Connections are kept, bounded, given up in time, and a stale one never shows."""

from __future__ import annotations

import asyncio
import contextlib
import select
import threading
from typing import TYPE_CHECKING

import pytest

from fd_router._core import GAP_BOUNDS, UpstreamError
from rig.raw_worker import reply
from rig.relaying import drive, until
from rig.wait import LIMIT

if TYPE_CHECKING:
    from fd_router._core import Relay
    from rig import Peer
    from rig.relaying import StartWorker


async def fetch(relay: Relay, url: str, body: bytes = b"") -> bytes | None:
    exchange = relay.send(url, [], body)
    return (await exchange.head()).body


def test_a_connection_is_used_again(raw_worker: StartWorker) -> None:
    worker = raw_worker(lambda peer: reply(peer.body))

    async def run(relay: Relay) -> None:
        for number in range(50):
            assert await fetch(relay, worker.url, b"%d" % number) == b"%d" % number
        stats = relay.stats()
        assert (stats.connections, stats.idle_connections, stats.active) == (1, 1, 0)

    drive(run)
    assert worker.connections == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_a_thousand_exchanges_at_once_get_their_own_answers(raw_worker: StartWorker, threads: int) -> None:
    worker = raw_worker(lambda peer: reply(peer.body))

    async def run(relay: Relay) -> None:
        bodies = [b"%d" % number for number in range(1000)]
        assert await asyncio.gather(*(fetch(relay, worker.url, body) for body in bodies)) == bodies
        assert relay.stats().idle_connections <= 32

    drive(run, max_idle_per_worker=32, threads=threads)


def test_kept_connections_are_bounded_and_run_out(raw_worker: StartWorker) -> None:
    worker = raw_worker(lambda peer: reply(b""))

    async def run(relay: Relay) -> None:
        await asyncio.gather(*(fetch(relay, worker.url) for _ in range(20)))
        await until(lambda: relay.stats().idle_connections == 0)
        await until(lambda: worker.open_connections() == 0)

    drive(run, max_idle_per_worker=3, keep_alive_secs=0.2)


def test_a_connection_older_than_the_limit_is_not_used(raw_worker: StartWorker) -> None:
    worker = raw_worker(lambda peer: reply(b""))

    async def run(relay: Relay) -> None:
        await fetch(relay, worker.url)
        await fetch(relay, worker.url)

    drive(run, keep_alive_secs=0)
    assert worker.connections == 2


@pytest.mark.parametrize("status", [204, 304])
def test_a_body_that_must_not_be_is_not_taken_for_the_next_answer(
    raw_worker: StartWorker, status: int
) -> None:
    """FastDeploy sends one with its 304, after the head."""

    def answer(peer: Peer) -> bytes | None:
        if len(worker.hits) == 1:
            peer.send(b"HTTP/1.1 %d X\r\ncontent-length: 9\r\n\r\n" % status)
            with contextlib.suppress(OSError):
                for piece in (b"not well!", b"at all"):
                    answered.wait(LIMIT)
                    peer.send(piece)
            return None
        return reply(b"well")

    answered = threading.Event()
    worker = raw_worker(answer)

    async def run(relay: Relay) -> None:
        assert await fetch(relay, worker.url) == b""
        answered.set()
        for _ in range(5):
            assert await fetch(relay, worker.url) == b"well"

    drive(run)
    assert worker.connections == 2


def test_connections_that_the_worker_closed_are_let_go(raw_worker: StartWorker) -> None:
    def answer(peer: Peer) -> None:
        peer.send(reply(b""))
        peer.close()

    worker = raw_worker(answer)

    async def run(relay: Relay) -> None:
        await fetch(relay, worker.url)
        await until(lambda: relay.stats().idle_connections == 0)

    drive(run, keep_alive_secs=60)


def test_a_connection_that_closes_as_it_is_taken_does_not_show(raw_worker: StartWorker) -> None:
    """The worker closes each kept connection when the next request is under way, which it does not read."""

    def answer(peer: Peer) -> None:
        peer.send(reply(peer.body))
        select.select([peer.connection], [], [], LIMIT)
        peer.reset()

    worker = raw_worker(answer)

    async def run(relay: Relay) -> None:
        sent = 0
        late: list[tuple[str, bool]] = []
        while relay.stats().resends < 20:
            sent += 1
            try:
                assert await fetch(relay, worker.url, b"%d" % sent) == b"%d" % sent
            except UpstreamError as error:
                late.append((error.kind, error.received))  # a machine under load lets the worker come late
        assert set(late) <= {("reset_before_head", False)}
        assert len(worker.hits) == sent - len(late)
        assert worker.connections == relay.stats().connections == 1 + relay.stats().resends + len(late)

    drive(run)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_worker_that_had_the_request_does_not_get_it_again(raw_worker: StartWorker, end: str) -> None:
    def answer(peer: Peer) -> bytes | None:
        if len(worker.hits) == 1:
            return reply(b"")
        threading.Event().wait(0.3)
        getattr(peer, end)()
        return None

    worker = raw_worker(answer)

    async def run(relay: Relay) -> None:
        await fetch(relay, worker.url)
        with pytest.raises(UpstreamError) as caught:
            await fetch(relay, worker.url)
        assert (caught.value.kind, caught.value.received) == ("reset_before_head", False)
        assert relay.stats().resends == 0

    drive(run)
    assert (len(worker.hits), worker.connections) == (2, 1)


def test_many_stale_connections_do_not_show(raw_worker: StartWorker) -> None:
    """The worker closes each connection after its answer, as the next request may be on its way."""

    def answer(peer: Peer) -> None:
        peer.send(reply(peer.body))
        peer.close()

    worker = raw_worker(answer)

    async def client(relay: Relay, name: int) -> None:
        for number in range(50):
            body = b"%d-%d" % (name, number)
            assert await fetch(relay, worker.url, body) == body

    async def run(relay: Relay) -> None:
        await asyncio.gather(*(client(relay, name) for name in range(20)))

    drive(run)


def test_a_fresh_connection_is_not_tried_again(raw_worker: StartWorker) -> None:
    worker = raw_worker(lambda peer: peer.close())

    async def run(relay: Relay) -> None:
        with pytest.raises(UpstreamError) as caught:
            await fetch(relay, worker.url)
        assert (caught.value.kind, caught.value.received) == ("reset_before_head", False)

    drive(run)
    assert len(worker.hits) == 1


def test_a_started_answer_on_a_kept_connection_is_not_tried_again(raw_worker: StartWorker) -> None:
    answers = [reply(b""), b"HTTP/1.1 20"]

    def answer(peer: Peer) -> None:
        peer.send(answers.pop(0))
        if not answers:
            peer.close()

    worker = raw_worker(answer)

    async def run(relay: Relay) -> None:
        await fetch(relay, worker.url)
        with pytest.raises(UpstreamError) as caught:
            await fetch(relay, worker.url)
        assert (caught.value.kind, caught.value.received) == ("reset_before_head", True)

    drive(run)
    assert len(worker.hits) == 2


def test_bounds_of_the_gaps_ascend() -> None:
    assert list(GAP_BOUNDS) == sorted(set(GAP_BOUNDS))

    async def run(relay: Relay) -> None:
        assert len(relay.stats().gap_buckets) == len(GAP_BOUNDS) + 1

    drive(run)
