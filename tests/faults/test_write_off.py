"""Clients that take nothing are written off by a limit, so that their engine's slot is free; slow ones are not."""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from fd_router.process.descriptors import SPARE
from rig import RawClient, reply, sse_head, wait_for
from rig.router import chat_body
from rig.table import FULL
from rig.wait import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Peer, RawWorker, Router

KIB = 1 << 10
ANSWER = 16 << 20
"""Far more than all buffers on the way take."""
LIMIT_SECS = 1.0
SILENT = 100 if FULL else 20
CONNECTIONS = 12


def endless(peer: Peer) -> bytes | None:
    """As much as is taken of a long answer."""
    if b'"small"' in peer.body:
        return reply(b'"small"')
    stream = json.loads(peer.body).get("stream")
    peer.send(sse_head() if stream else b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % ANSWER)
    piece = (b"data: " + b"x" * 1016 + b"\n\n") * 64
    for _ in range(ANSWER // len(piece)):
        peer.send(piece)
    peer.close()
    return None


def slow_client(router: Router, *, stream: bool = True) -> RawClient:
    client = RawClient("127.0.0.1", router.port, receive_buffer=4 * KIB)
    client.post("/v1/chat/completions", json.dumps(chat_body("hello", stream=stream)).encode())
    return client


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_clients_that_never_read(
    start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker], stream: bool
) -> None:
    router = start_router(f"server: {{write-timeout-secs: {LIMIT_SECS}}}")
    worker = raw_worker(endless)
    assert router.register(worker.port).status_code == 200
    with ExitStack() as stack:
        clients = [stack.enter_context(slow_client(router, stream=stream)) for _ in range(SILENT)]
        worker.wait_hits(SILENT)
        assert router.chat("small").content == b'"small"'
        # All of them hold their engine, and nothing but the limit frees it: they are still there at the end.
        router.assert_idle()
        wait_for(lambda: router.metrics().value("fd_router_clients_written_off_total") == SILENT)
        for client in clients:
            host, port = client.socket.getsockname()
            router.wait_log(
                rf"\[WARN\].*\[fd-router\] limit: client {re.escape(host)}:{port} took no byte for 1 s"
                r" \(server\.write-timeout-secs\), closed"
            )
            assert len(client.read_to_end()) < ANSWER
    wait_for(lambda: worker.open_connections() <= 1, why="the engine answers for nobody")
    assert router.metrics().value("fd_router_client_disconnects_total") == SILENT
    assert router.chat("small").content == b'"small"'


def test_slow_readers_are_left_alone(
    start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker]
) -> None:
    """100 bytes a second for longer than the limit of 60 s; in the quick form, both are a fraction."""
    limit, pause, bites = (60.0, 1.0, 90) if FULL else (1.5, 0.05, 80)
    router = start_router(f"server: {{write-timeout-secs: {limit}}}")
    worker = raw_worker(endless)
    assert router.register(worker.port).status_code == 200
    clock = threading.Event()
    with (
        RawClient("127.0.0.1", router.port, receive_buffer=1 * KIB) as client,
        slow_client(router) as silent,
    ):
        client.post("/v1/chat/completions", json.dumps(chat_body("hello", stream=True)).encode())
        for _ in range(bites):
            # Paced by the reader: nothing is waited for.
            assert client.socket.recv(100), "it was cut off"
            clock.wait(pause)
        # Meanwhile one that reads nothing was written off: the limit is in force.
        wait_for(lambda: router.metrics().value("fd_router_clients_written_off_total") == 1)
        assert len(silent.read_to_end()) < ANSWER
        client.socket.settimeout(LIMIT)
        assert client.socket.recv(100)
        assert sum(router.running().values()) == 1
        assert router.metrics().value("fd_router_clients_written_off_total") == 1
        host, port = client.socket.getsockname()
        assert f"client {host}:{port}" not in router.settled_log()


def test_full_of_silent_clients(start_router: Callable[..., Router]) -> None:
    """They give way to who has something to say, and not before somebody has."""
    router = start_router(f"server: {{max-connections: {CONNECTIONS}, write-timeout-secs: {LIMIT_SECS}}}")
    accepted = CONNECTIONS + SPARE
    with ExitStack() as stack:
        # The rig's own connection, which is kept, is one of them.
        silent = [stack.enter_context(router.raw()) for _ in range(SPARE + 1)]
        # The kernel counts how long they have been quiet in steps of some milliseconds: the others are to be younger.
        opened = time.monotonic()
        wait_for(lambda: time.monotonic() > opened + 0.05)
        silent += [stack.enter_context(router.raw()) for _ in range(accepted - 1 - len(silent))]
        wait_for(lambda: router.metrics().value("fd_router_client_connections") == accepted)
        assert router.metrics().value("fd_router_idle_clients_closed_total") == 0
        late = stack.enter_context(router.raw())
        late.send(b"GET /health HTTP/1.1\r\nhost: router\r\nconnection: close\r\n\r\n")
        late.read_until(b"200 OK")
        router.wait_log(
            rf"\[WARN\].*\[fd-router\] limit: {accepted} client connections \(server\.max-connections, ulimit -n\),"
            rf" {SPARE + 1} idle ones closed to make room$"
        )
        for client in silent[: SPARE + 1]:
            assert client.read_to_end() == b"", "it was not the oldest that went"
        assert router.metrics().value("fd_router_idle_clients_closed_total") == SPARE + 1
        silent[-1].send(b"GET /health HTTP/1.1\r\nhost: router\r\n\r\n")
        silent[-1].read_until(b"200 OK")
    wait_for(lambda: router.metrics().value("fd_router_client_connections") == 1)
