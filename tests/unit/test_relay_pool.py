"""Connections are kept, bounded, given up in time, and a stale one never shows."""

from __future__ import annotations

import asyncio

import pytest

from fd_router._core import GAP_BOUNDS, UpstreamError
from rig.raw_worker import reply
from rig.relaying import drive, until


async def fetch(relay, url, body=b""):
    exchange = relay.send(url, [], body)
    return (await exchange.head).body


def test_a_connection_is_used_again(raw_worker):
    worker = raw_worker(lambda peer: reply(peer.body))

    async def run(relay):
        for number in range(50):
            assert await fetch(relay, worker.url, b"%d" % number) == b"%d" % number
        stats = relay.stats()
        assert (stats.connections, stats.idle_connections, stats.active) == (1, 1, 0)

    drive(run)
    assert worker.connections == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_a_thousand_exchanges_at_once_get_their_own_answers(raw_worker, threads):
    worker = raw_worker(lambda peer: reply(peer.body))

    async def run(relay):
        bodies = [b"%d" % number for number in range(1000)]
        assert await asyncio.gather(*(fetch(relay, worker.url, body) for body in bodies)) == bodies
        assert relay.stats().idle_connections <= 32

    drive(run, max_idle_per_worker=32, threads=threads)


def test_kept_connections_are_bounded_and_run_out(raw_worker):
    worker = raw_worker(lambda peer: reply(b""))

    async def run(relay):
        await asyncio.gather(*(fetch(relay, worker.url) for _ in range(20)))
        await until(lambda: relay.stats().idle_connections == 0)
        await until(lambda: worker.open_connections() == 0)

    drive(run, max_idle_per_worker=3, keep_alive_secs=0.2)


def test_a_connection_older_than_the_limit_is_not_used(raw_worker):
    worker = raw_worker(lambda peer: reply(b""))

    async def run(relay):
        await fetch(relay, worker.url)
        await fetch(relay, worker.url)

    drive(run, keep_alive_secs=0)
    assert worker.connections == 2


def test_connections_that_the_worker_closed_are_let_go(raw_worker):
    def answer(peer):
        peer.send(reply(b""))
        peer.close()

    worker = raw_worker(answer)

    async def run(relay):
        await fetch(relay, worker.url)
        await until(lambda: relay.stats().idle_connections == 0)

    drive(run, keep_alive_secs=60)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_stale_connection_does_not_show(raw_worker, end):
    """The worker takes each second request of a connection and closes without a byte of an answer."""
    served: dict[object, int] = {}

    def answer(peer):
        served[peer.connection] = served.get(peer.connection, 0) + 1
        if served[peer.connection] == 2:
            getattr(peer, end)()
            return None
        return reply(peer.body)

    worker = raw_worker(answer)

    async def run(relay):
        for number in range(200):
            assert await fetch(relay, worker.url, b"%d" % number) == b"%d" % number

    drive(run)
    assert len(worker.hits) > 300


def test_many_stale_connections_do_not_show(raw_worker):
    """The worker closes each connection after its answer, as the next request may be on its way."""

    def answer(peer):
        peer.send(reply(peer.body))
        peer.close()

    worker = raw_worker(answer)

    async def client(relay, name):
        for number in range(50):
            body = b"%d-%d" % (name, number)
            assert await fetch(relay, worker.url, body) == body

    async def run(relay):
        await asyncio.gather(*(client(relay, name) for name in range(20)))

    drive(run)


def test_a_fresh_connection_is_not_tried_again(raw_worker):
    worker = raw_worker(lambda peer: peer.close())

    async def run(relay):
        with pytest.raises(UpstreamError) as caught:
            await fetch(relay, worker.url)
        assert (caught.value.kind, caught.value.received) == ("reset_before_head", False)

    drive(run)
    assert len(worker.hits) == 1


def test_a_started_answer_on_a_kept_connection_is_not_tried_again(raw_worker):
    answers = [reply(b""), b"HTTP/1.1 20"]

    def answer(peer):
        peer.send(answers.pop(0))
        if not answers:
            peer.close()

    worker = raw_worker(answer)

    async def run(relay):
        await fetch(relay, worker.url)
        with pytest.raises(UpstreamError) as caught:
            await fetch(relay, worker.url)
        assert (caught.value.kind, caught.value.received) == ("reset_before_head", True)

    drive(run)
    assert len(worker.hits) == 2


def test_bounds_of_the_gaps_ascend():
    assert list(GAP_BOUNDS) == sorted(set(GAP_BOUNDS))

    async def run(relay):
        assert len(relay.stats().gap_buckets) == len(GAP_BOUNDS) + 1

    drive(run)
