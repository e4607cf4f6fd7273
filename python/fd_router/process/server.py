"""The router as a process: granian, and the service in its worker.

Two processes: granian's supervisor, which holds no state and restarts a worker that crashed, and one worker, which
is the router. What can fail at start for the operator's reasons (configuration, port) is checked in the supervisor,
before the worker exists, so that the message and the exit code are plain.
"""

from __future__ import annotations

import math
import socket
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.server import Server

from fd_router.errors import ConfigError
from fd_router.observe.logs import messages
from fd_router.process import tls
from fd_router.process.admin import AdminListener
from fd_router.process.service import Service
from fd_router.upstream.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from fd_router.config import Config, Notice, ServerConfig
    from fd_router.downstream.client import Receive, Send
    from fd_router.edge.app import App

HEAD_LIMIT = 262_144
"""Bytes of a request's head, of a piece of its body, and of what the server gathers for one write.

Each piece of a long body costs a hand-over through three threads, so it is large; a connection may hold as much.
"""
BACKLOG = 4_096


class Entry:
    """The ASGI callable: builds the service at the lifespan's start, then hands requests to its app."""

    def __init__(self, config: Config, notices: Sequence[Notice]) -> None:
        self._config = config
        self._notices = notices
        self._app: App | None = None

    def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> Awaitable[None]:
        """Hand the connection to whom it concerns; no frame of this class stays on a request's stack."""
        if scope["type"] == "lifespan" or self._app is None:
            return self._lifespan(receive, send)
        return self._app(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            service = Service(self._config, self._notices)
            await service.start()
        except Exception as error:
            print(f"{time.strftime('%Y/%m/%d %H:%M:%S')} Failed to start server: {error}", file=sys.stderr)
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        admin = self._admin(service)
        self._app = service.app
        if admin is not None:
            admin.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        service.drain()
        if admin is not None:
            await admin.stop()
        await service.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def _admin(self, service: Service) -> AdminListener | None:
        server = self._config.server
        if not server.admin_port:
            return None
        host = server.admin_host or server.host
        return AdminListener(
            service.admin_app,
            host,
            server.admin_port,
            tls=tls.server_arguments(server),
            on_lost=lambda why: service.log.error(messages.panic(why)),
        )


def run(config: Config, notices: Sequence[Notice]) -> None:
    """Serve until a signal. Raises `ConfigError` when the port cannot be had."""
    server = config.server
    secured = tls.server_arguments(server)
    Trust(config.upstream.ca_file).check()
    _check_free(server.host, server.port)
    if server.admin_port:
        _check_free(server.admin_host or server.host, server.admin_port)
    Server(
        "fd_router",
        address=server.host,
        port=server.port,
        interface=Interfaces.ASGI,
        workers=1,
        runtime_threads=server.threads,
        loop=Loops.auto,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_head_ms(server), max_buffer_size=HEAD_LIMIT),
        websockets=False,
        backlog=BACKLOG,
        backpressure=server.max_connections,
        log_enabled=False,
        respawn_failed_workers=True,
        workers_kill_timeout=max(1, round(server.drain_timeout_secs)),
        **secured,
    ).serve(target_loader=partial(Entry, config, notices), wrap_loader=False)


def _head_ms(server: ServerConfig) -> int:
    """Milliseconds from one answer to the next whole head.

    granian has this one timer for idle connections and for slow heads: it ends what may last longer, and
    `downstream.connections` the other.
    """
    return math.ceil(1000 * max(server.header_timeout_secs, server.keep_alive_secs))


def _check_free(host: str, port: int) -> None:
    """Raise `ConfigError` when the port is taken.

    granian listens with SO_REUSEPORT, with which a second router on the port would start without a word and take
    half of the connections; a socket without that option finds out.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
    except OSError as error:
        raise ConfigError(f"listen tcp {host}:{port}: {error.strerror or error}") from error
