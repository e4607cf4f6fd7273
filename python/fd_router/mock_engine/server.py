"""Puts one engine together and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from fd_router.mock_engine.faults import FaultSwitch
from fd_router.mock_engine.generation import Generator
from fd_router.mock_engine.heartbeat import heartbeat, router_address
from fd_router.mock_engine.listener import Listener
from fd_router.mock_engine.pairing import Identity
from fd_router.mock_engine.record import Record
from fd_router.mock_engine.routes import Routes
from fd_router.mock_engine.wire import Connection

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from fd_router.mock_engine.options import Options
    from fd_router.mock_engine.request import Request

QUEUE_PORT = 6778
"""Registered as `engine_worker_queue_port`; nothing listens there."""


class MockEngine:
    """One engine and its ports."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.switch = FaultSwitch(options.faults)
        self.record = Record(options.record)
        self.engine = Generator(options, self.record)
        self.routes = Routes(self.engine, self.switch, self._apply_faults)
        self.main = Listener(options.host, options.port, self._connection)
        self.control = self._side_door(options.control_port)
        self.metrics = self._side_door(options.metrics_port)
        self._connections: set[Connection] = set()
        self._connector: asyncio.AbstractServer | None = None
        self.engine.name = options.name or f"mock-{self.main.port}"

    async def start(self) -> None:
        """Listen on every port. Raises `OSError`."""
        options = self.options
        connector_port = 0
        if options.role != "mixed":
            self._connector = await asyncio.start_server(
                self.engine.store.receive, options.host, options.connector_port
            )
            connector_port = self._connector.sockets[0].getsockname()[1]
        self.engine.identity = Identity(
            role=options.role,
            host=options.host,
            connector_port=connector_port,
            device_ids=options.device_ids,
            rdma_ports=options.rdma_ports,
            transfer_protocol=options.transfer_protocol,
            tp_size=options.tp_size,
        )
        for listener in (self.control, self.metrics):
            if listener is not None:
                await listener.listen()
        await self._apply_faults()

    def banner(self) -> str:
        """The line that says where the engine is."""
        line = f"mock engine {self.engine.name} ({self.options.role}) on http://{self.options.host}:{self.main.port}"
        return f"{line} control http://{self.options.host}:{self.control.port}" if self.control else line

    def registration(self) -> dict[str, object]:
        """The body of `/register`."""
        own = self.engine.identity
        body: dict[str, object] = {
            "role": own.role,
            "host_ip": own.host,
            "port": self.main.port,
            "metrics_port": self.metrics.port if self.metrics else self.main.port,
            "connector_port": own.connector_port or None,
            "rdma_ports": list(own.rdma_ports),
            "engine_worker_queue_port": QUEUE_PORT,
            "device_ids": list(own.device_ids),
            "transfer_protocol": list(own.transfer_protocol),
            "tp_size": own.tp_size,
        }
        if self.options.endpoints:
            body["endpoints"] = list(self.options.endpoints)
        return body if own.tp_size else {key: value for key, value in body.items() if key != "tp_size"}

    async def run(self) -> None:
        """Serve, and register where a router was named, until cancelled."""
        if self.options.router is None:
            await asyncio.get_running_loop().create_future()
        else:
            await heartbeat(
                router_address(self.options.router),
                (self.options.host, self.main.port),
                self.registration(),
                self.options.register_secs,
                self._count_registration,
            )

    def stop(self) -> None:
        """Close every port and connection."""
        for listener in (self.main, self.control, self.metrics):
            if listener is not None:
                listener.close()
        if self._connector is not None:
            self._connector.close()
        for connection in list(self._connections):
            connection.transport.abort()

    def _count_registration(self) -> None:
        self.record.counts.registrations += 1

    async def _apply_faults(self) -> None:
        if self.switch.now.connect == "refuse":
            self.main.refuse()
        else:
            await self.main.listen()

    def _side_door(self, port: int | None) -> Listener | None:
        if port is None:
            return None
        return Listener(self.options.host, port, self._side_connection)

    def _connection(self) -> Connection:
        connection = Connection(self._serve_main, opened=self._opened, closed=self._connections.discard)
        connection.idle_secs = self.switch.now.idle_secs
        return connection

    def _side_connection(self) -> Connection:
        return Connection(self._serve_side, opened=self._connections.add, closed=self._connections.discard)

    def _opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        self.record.counts.connections += 1
        if self.switch.now.connect == "reset":
            connection.reset()
        elif self.switch.now.connect == "hang":
            connection.ignore()

    def _serve_main(self, request: Request, peer: Connection) -> Awaitable[None]:
        peer.idle_secs = self.switch.now.idle_secs
        return self.routes.serve(request, peer, control=False)

    def _serve_side(self, request: Request, peer: Connection) -> Awaitable[None]:
        return self.routes.serve(request, peer, control=True)


async def serve(options: Options) -> None:
    """Run one engine until SIGTERM or SIGINT. Raises `OSError` when it cannot listen."""
    mock = MockEngine(options)
    await mock.start()
    running = asyncio.ensure_future(mock.run())
    told = asyncio.Event()
    stopping = asyncio.ensure_future(told.wait())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    print(mock.banner(), flush=True)
    await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
    while not running.done():
        # Said until it is heard: before Python 3.12, `wait_for` can swallow a cancellation.
        running.cancel()
        await asyncio.wait((running,), timeout=0.1)
    mock.stop()
    if not running.cancelled():
        running.result()
