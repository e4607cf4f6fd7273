"""Room for connections that wait, on a listener of the test's own: who goes, how many, and who stays."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from fd_router.config import LogConfig
from fd_router.downstream.idle import Connection, Peer
from fd_router.downstream.room import Room
from fd_router.downstream.sockets import ClientSockets
from fd_router.observe.logs import Log
from fd_router.observe.metrics import Metrics
from rig import wait_for

HOST = "127.0.0.1"


class Port:
    """A server that accepts what it is told to."""

    def __init__(self, things: ExitStack) -> None:
        self._things = things
        self._listener = things.enter_context(socket.create_server((HOST, 0), backlog=64))
        self.port: int = self._listener.getsockname()[1]
        self.sockets = ClientSockets(self.port)
        self.short = False
        self.active: dict[Peer, None] = {}
        log = Log(LogConfig(level="error"))
        things.callback(log.close)
        self._log = log

    def connect(self) -> socket.socket:
        return self._things.enter_context(socket.create_connection((HOST, self.port), timeout=20))

    def accept(self) -> socket.socket:
        return self._things.enter_context(self._listener.accept()[0])

    def served(self) -> tuple[socket.socket, socket.socket]:
        """A client that was answered, and the server's end."""
        client = self.connect()
        server = self.accept()
        client.sendall(b"ask")
        assert server.recv(9) == b"ask"
        server.sendall(b"answer")
        assert client.recv(9) == b"answer"
        return client, server

    def room(self, limit: int, spare: int) -> Room:
        return Room(
            self.sockets,
            what="connections",
            limit=limit,
            spare=spare,
            active=self.active,
            short=lambda: self.short,
            log=self._log,
            metrics=Metrics(),
        )


@pytest.fixture
def port() -> Iterator[Port]:
    with ExitStack() as things:
        yield Port(things)


def closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


def peer(client: socket.socket) -> Peer:
    host, number = client.getsockname()
    return host, str(number)


def test_the_queue_is_seen(port: Port) -> None:
    assert port.sockets.waiting() == 0
    for number in range(1, 4):
        port.connect()
        assert port.sockets.waiting() == number
    port.accept()
    assert port.sockets.waiting() == 2
    assert len(port.sockets.connections()) == 1


def test_nobody_waits_for_nothing(port: Port) -> None:
    clients = [port.served()[0] for _ in range(4)]
    asyncio.run(port.room(limit=2, spare=2).round(0.0))
    assert not any(map(closed, clients))


def test_a_port_that_is_not_full_is_left_alone(port: Port) -> None:
    client, _ = port.served()
    port.connect()
    asyncio.run(port.room(limit=2, spare=2).round(0.0))
    assert not closed(client)


def test_as_many_go_as_wait_and_some_more(port: Port) -> None:
    """Those that were never answered first, then those that have been quiet for longest."""
    pairs = [port.served() for _ in range(3)]
    wait_for(lambda: min(each.quiet for each in port.sockets.connections()) > 0.01)
    first, last = pairs[0], pairs[2]
    first[0].sendall(b"more")
    assert first[1].recv(9) == b"more"
    silent = port.connect()
    port.accept()
    port.connect()
    asyncio.run(port.room(limit=4, spare=1).round(0.0))
    assert closed(silent)
    assert closed(pairs[1][0]) + closed(last[0]) == 1
    assert not closed(first[0])


def test_a_listener_that_lets_nobody_wait(port: Port) -> None:
    """All that are too many go, and some more, when descriptors run short."""
    clients = [port.served()[0] for _ in range(6)]
    room = port.room(limit=2, spare=1)
    asyncio.run(room.round(0.0))
    assert not any(map(closed, clients))
    port.short = True
    asyncio.run(room.round(0.0))
    assert sum(map(closed, clients)) == 6 - 2


def test_who_has_a_request_stays(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    """And who gets one, or begins one, between the two looks."""
    busy, reading, asking, answered, idle = (port.served() for _ in range(5))
    port.active[peer(busy[0])] = None
    port.connect()
    # Bytes that the client's side has not taken.
    reading[1].setblocking(False)
    sent = 1
    while sent:
        try:
            sent = reading[1].send(b"x" * (1 << 20))
        except BlockingIOError:
            break

    looked = threading.Event()
    look = port.sockets.connections

    def connections() -> list[Connection]:
        found = look()
        looked.set()
        return found

    monkeypatch.setattr(port.sockets, "connections", connections)

    async def scene() -> None:
        making = asyncio.ensure_future(port.room(limit=5, spare=9).round(0.0))
        await asyncio.to_thread(looked.wait, 20)
        asking[0].sendall(b"GET")
        answered[1].sendall(b"200")
        assert answered[0].recv(9) == b"200"
        await making

    asyncio.run(scene())
    assert not any(closed(each[0]) for each in (busy, asking, answered))
    reading[0].settimeout(20)
    assert reading[0].recv(1) == b"x"
    assert closed(idle[0])


def test_it_rests_after_a_long_look(port: Port) -> None:
    client, _ = port.served()
    port.connect()
    times = iter([0.0, 1.0, 5.0, 12.0, 12.0])
    room = port.room(limit=1, spare=0)
    room._clock = lambda: next(times)
    port.active[peer(client)] = None
    asyncio.run(room.round(0.0))
    port.active.clear()
    asyncio.run(room.round(0.0))
    assert not closed(client), "it looked 4 s after a look that took 1 s"
    asyncio.run(room.round(0.0))
    assert closed(client)
