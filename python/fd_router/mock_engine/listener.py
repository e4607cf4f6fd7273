"""Listening sockets that can stop listening, and start again on the same port."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BACKLOG = 1024


class Listener:
    """One port. While it is refused, a bound socket that never listens keeps the port ours."""

    def __init__(self, host: str, port: int, protocol: Callable[[], asyncio.Protocol]) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._placeholder = bound_socket(family, host, port)
        self._protocol = protocol
        self._server: asyncio.AbstractServer | None = None
        self.host = host
        self.port: int = self._placeholder.getsockname()[1]

    async def listen(self) -> None:
        """Accept connections from now on."""
        if self._server is None:
            sock = bound_socket(self._placeholder.family, self.host, self.port)
            loop = asyncio.get_running_loop()
            # Somebody else's listening socket shows here, as both were bound with SO_REUSEADDR.
            with where(self.host, self.port):
                self._server = await loop.create_server(self._protocol, sock=sock, backlog=BACKLOG)

    def refuse(self) -> None:
        """Refuse connections from now on; open ones stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self) -> None:
        """Stop for good."""
        self.refuse()
        self._placeholder.close()


def bound_socket(family: int, host: str, port: int) -> socket.socket:
    """A bound TCP socket that shares its port with others that do not listen. Raises `OSError`."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        with where(host, port):
            sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


@contextmanager
def where(host: str, port: int) -> Iterator[None]:
    """Names the address in an `OSError`."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno, f"listen tcp {host}:{port}: {reason}") from error
