"""File descriptors: how many there are, and how many of them clients may have.

A process that runs out of them can serve nobody, old clients included: it cannot connect to an engine, nor probe one,
and the server tries in a circle to accept the next connection. So clients get a share of them, in which there is room
for what a request of each needs on the engines' side; operators and engines have one of their own where they have a
port of their own. Some connections more are accepted, and told at once that there is no room (`edge.overload`); beyond
them one waits in the kernel, which costs nothing, until idle ones are closed (`downstream.room`).
"""

from __future__ import annotations

import errno
import os
import resource
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fd_router.config import ServerConfig

RESERVE = 64
"""Descriptors for the log, the listeners, event loops, probes and control calls."""
SPARE = 32
"""Connections of clients that are accepted beyond those that are served."""
ADMIN = 512
"""Connections of `server.admin-port`. Each engine uses one every few seconds."""
OPEN = "/proc/self/fd"
ADMIN_SHARE = 8
"""The part of all descriptors that they may be: an eighth."""


def raise_limit() -> None:
    """Let this process, and those it starts, open as many as it may without privileges."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # what there is has to do
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit() -> int | None:
    """How many this process may open; None for any number."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def opened() -> int:
    """How many this process has open; a very large number if not even one is left to look with."""
    try:
        # A folder of Linux 6.2 and newer knows its size.
        return os.stat(OPEN).st_size or len(os.listdir(OPEN))
    except OSError as error:
        return sys.maxsize if error.errno == errno.EMFILE else 0


class Shares(NamedTuple):
    """Connections at a time: of clients that are served, and of `server.admin-port`."""

    clients: int
    admin: int

    @property
    def accepted(self) -> int:
        """Connections of clients, those included that are only told that they are too many."""
        return self.clients + SPARE


def shares(server: ServerConfig, limit: int | None) -> Shares:
    """Of `limit` descriptors; each client may need one to an engine too, in PD mode two."""
    if limit is None:
        return Shares(server.max_connections, ADMIN)
    admin = min(ADMIN, limit // ADMIN_SHARE)
    rest = limit - RESERVE - SPARE - (admin if server.admin_port else 0)
    return Shares(max(1, min(server.max_connections, rest // (3 if server.splitwise else 2))), max(1, admin))
