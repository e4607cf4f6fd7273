"""The router as a process: granian, and the service in its worker.

Two processes: the supervisor (`supervisor.py`), which restarts a worker that died, and one worker (`entry.py`), which
is the router. What can fail at start for the operator's reasons (configuration, port) is checked in the supervisor,
before the worker exists, so that the message and the exit code are plain.
"""

from __future__ import annotations

import math
import os
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings

from fd_router.edge.routes import table
from fd_router.errors import ConfigError
from fd_router.process import descriptors, files, tls
from fd_router.process.entry import Entry
from fd_router.process.in_force import InForce
from fd_router.process.supervisor import Supervisor
from fd_router.state.registrations import FILE_NAME
from fd_router.state.store import FileStore, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fd_router.config import Config, Notice, ServerConfig
    from fd_router.process.reload import Load

HEAD_LIMIT = 262_144
"""Bytes of a request's head, of a piece of its body, and of what the server gathers for one write.

Each piece of a long body costs a hand-over through three threads, so it is large; a connection may hold as much.
"""
BACKLOG = 4_096


def run(config: Config, notices: Sequence[Notice], load: Load) -> None:
    """Serve until a signal; `load` reads the configuration again for a reload.

    Raises `ConfigError` for a file, path or port that cannot be used.
    """
    server = config.server
    table(server.extra_paths)
    for problem in files.problems(config):
        raise problem
    _check_free(server.host, server.port)
    if server.admin_port:
        _check_free(server.admin_host or server.host, server.admin_port)
    descriptors.raise_limit()
    # Made before any worker is, so that one that follows another finds what that left.
    store = FileStore(Path(server.state_path, FILE_NAME)) if server.state_path else MemoryStore()
    in_force = InForce(config, MemoryStore())
    Supervisor(
        in_force,
        address=server.host,
        port=server.port,
        interface=Interfaces.ASGI,
        runtime_threads=server.threads,
        loop=Loops.auto,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_head_ms(server), max_buffer_size=HEAD_LIMIT),
        websockets=False,
        backlog=BACKLOG,
        backpressure=descriptors.shares(server, descriptors.limit()).accepted,
        **tls.server_arguments(server),
    ).serve(target_loader=partial(Entry, in_force, notices, load, store, os.getpid()), wrap_loader=False)


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
