"""Clients that leave, and clients that read slowly. `FAULTS_FULL=1` runs the large numbers."""

from __future__ import annotations

import json
import os
import resource
import socket
import threading
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from fd_router.process.server import HEAD_LIMIT
from rig import RawClient, reply, sse_head, wait_for
from rig.memory import peak_rss, rss, worker_pid
from rig.router import chat_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Engine, Peer, RawWorker, Router

FULL = bool(os.environ.get("FAULTS_FULL"))
LEAVING = 1000 if FULL else 100
SLOW = 500 if FULL else 50
ROUNDS = 9
MIB = 1 << 20
KIB = 1 << 10

ANSWER = 32 * MIB
"""Far more than the kernel's own buffers take."""
READ_AHEAD = 64 * KIB + 64 * KIB
"""What the relay holds of one stream: up to `buffer_limit`, and then one more read."""
FRAMES = (4 + 1 + 1) * 64 * KIB
"""granian queues 4 pieces of an answer, one more waits for room there, one is on its way to the write buffer."""
WRITE_BUFFER = HEAD_LIMIT
"""What the server gathers for one write."""
STREAM_BOUND = 1.25 * (READ_AHEAD + 64 * KIB + FRAMES + WRITE_BUFFER)
"""Bytes a slow client may cost: what the relay holds, hyper's read buffer, frames and write buffer, and a quarter more
than all of these: what the allocator keeps between pieces, and what the process makes once, of which
each of a few clients has a share. Fourteen runs had 1.03 to 1.19 times the sum."""

PHASES = {
    "waiting": {"stream": False, "cut": "before-head"},
    "waiting-stream": {"stream": True, "cut": "before-head"},
    "collecting": {"stream": False, "cut": "mid-stream"},
    "mid-stream": {"stream": True, "cut": "mid-stream"},
}


def encoded(**fields: Any) -> bytes:
    return json.dumps(chat_body("hello", **fields)).encode()


@pytest.mark.parametrize("phase", PHASES)
def test_clients_leave_together(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]], phase: str
) -> None:
    allow_files(4 * LEAVING)
    stream, cut = PHASES[phase]["stream"], PHASES[phase]["cut"]
    router = start_router("scheduler: {policy: round_robin}\nmanager: {health-check-interval-secs: 3600}")
    faults = {"cut": cut, "cut_how": "stall"}
    engines = start_engines(
        2, router, register_secs=3600, token_secs=0, max_batch=LEAVING, record=1, faults=faults
    )
    router.wait_workers(mixed=2)
    body = encoded(stream=stream)
    with ExitStack() as clients:
        for _ in range(LEAVING):
            clients.enter_context(router.raw()).post("/v1/chat/completions", body)
        for engine in engines:
            engine.wait_stats(stalled=LEAVING // 2)
        assert sum(router.running().values()) == LEAVING
    for engine in engines:
        engine.wait_stats(aborted=LEAVING // 2)
    router.assert_idle()
    metrics = router.metrics()
    assert metrics.value("fd_router_client_disconnects_total") == LEAVING
    assert metrics.value("fd_router_upstream_exchanges") == 0
    assert metrics.value("fd_router_retries_total") == 0
    assert sum(engine.stats()["requests"] for engine in engines) == LEAVING


def has(things: list[float], number: int) -> bool:
    return len(things) == number


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize(
    "beginning",
    [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n12", sse_head() + b"data: 1\n\n"],
    ids=["waiting", "collecting", "mid-stream"],
)
def test_a_client_s_leaving_reaches_the_worker_at_once(
    start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker], beginning: bytes, how: str
) -> None:
    closed: list[float] = []

    def answer(peer: Peer) -> None:
        peer.send(beginning)
        assert peer.wait_closed(), "the worker goes on for nobody"
        closed.append(time.monotonic())

    router = start_router()
    worker = raw_worker(answer)
    assert router.register(worker.port).status_code == 200
    body = encoded(stream=b"event-stream" in beginning)
    delays, noise = [], []
    for number in range(1, ROUNDS + 1):
        noise.append(router.round_trip())
        client = router.raw()
        client.post("/v1/chat/completions", body)
        worker.wait_hits(number)
        if b"data" in beginning:
            client.read_until(b"data: 1\n\n")
        left = time.monotonic()
        client.close() if how == "close" else client.reset()
        wait_for(partial(has, closed, number))
        delays.append(closed[-1] - left)
    assert max(delays) < 0.5 + max(noise), (delays, noise)


class Source:
    """Answers as much as the router takes, up to `ANSWER`, and counts it."""

    def __init__(self, *, stream: bool) -> None:
        self.taken = 0
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, peer: Peer) -> None:
        if b'"small"' in peer.body:
            peer.send(reply(b'"at once"'))
            return
        # The kernel's buffers must not hide whether the router goes on reading.
        peer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * KIB)
        peer.connection.settimeout(None)
        head = sse_head() if self._stream else b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % ANSWER
        peer.send(head)
        piece = (b"data: " + b"x" * 1016 + b"\n\n") * 16
        for _ in range(ANSWER // len(piece)):
            peer.send(piece)
            with self._lock:
                self.taken += len(piece)
        peer.close()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_slow_readers(
    start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker], stream: bool
) -> None:
    allow_files(6 * SLOW)
    router = start_router()
    source = Source(stream=stream)
    worker = raw_worker(source)
    assert router.register(worker.port).status_code == 200
    assert router.chat("small").status_code == 200
    pid = worker_pid(router)
    before = rss(pid)
    with ExitStack() as stack:
        clients = [stack.enter_context(slow_client(router)) for _ in range(SLOW)]
        for client in clients:
            client.post("/v1/chat/completions", encoded(stream=stream))
        for client in clients:
            client.read_until(b"\r\n\r\n")
        for _ in range(5):
            wait_steady(lambda: source.taken)
            for client in clients:
                client.socket.recv(100)
        held = peak_rss(pid) - before
        each = f"{held / SLOW / KIB:.0f} KiB held and {source.taken / SLOW / KIB:.0f} KiB read for each"
        print(each)
        assert held < SLOW * STREAM_BOUND, each
        assert source.taken < SLOW * ANSWER // 2, f"the worker was not held back: {each}"
        assert sum(router.running().values()) == SLOW
        assert router.chat("small").content == b'"at once"'
    router.assert_idle()
    wait_for(lambda: worker.open_connections() <= 1, why="the worker is left with answers for nobody")


def slow_client(router: Router) -> RawClient:
    """A client with next to no receive buffer."""
    return RawClient("127.0.0.1", router.port, receive_buffer=4 * KIB)


def wait_steady(value: Callable[[], int], readings: int = 8) -> None:
    """Wait until a value is the same in so many readings."""
    last: list[int] = []

    def steady() -> bool:
        last.append(value())
        return len(last) >= readings and len(set(last[-readings:])) == 1

    wait_for(steady, why=lambda: f"still moving: {last[-readings:]}")


def allow_files(number: int) -> None:
    """Let this process, and what it starts, open so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(number, hard), hard))
