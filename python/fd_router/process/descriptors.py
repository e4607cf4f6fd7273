"""File descriptors: how many there are, and how many of them clients may have.

A process that runs out of them can serve nobody, old clients included: it cannot connect to an engine, nor probe one,
and the server tries in a circle to accept the next connection. So clients get a share of them, in which there is room
for what a request of each needs on the engines' side, and who comes later waits in the kernel, which costs nothing.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fd_router.config import ServerConfig

RESERVE = 64
"""Descriptors for the log, the listener, event loops, probes and control calls."""


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


def clients(wanted: int, limit: int | None, *, legs: int) -> int:
    """How many connections of clients to take, where so many are `wanted`; each may need `legs` to engines."""
    return wanted if limit is None else max(1, min(wanted, (limit - RESERVE) // (1 + legs)))


def clients_of(server: ServerConfig) -> int:
    """How many connections of clients this process takes."""
    return clients(server.max_connections, limit(), legs=2 if server.splitwise else 1)
