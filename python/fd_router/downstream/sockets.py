"""Client connections as the kernel sees them, which is more than the HTTP server says.

The router looks at its own sockets: those with one of its ports at this end. They stay the server's; here they are
looked at, and shut down, which the server takes for their client's leaving.

Linux only; elsewhere nothing is seen.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
import termios
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from fd_router.downstream.idle import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fd_router.downstream.idle import Peer

OWN_FILES = "/proc/self/fd"
SLICE = 128
"""Sockets between two pauses, in which the event loop gets the GIL."""
PAUSE_SECS = 0.0001
SEARCH_SECS = 1.0
_TCP_INFO = struct.Struct("=24xI16xI4xI64xQQ")
"""Of `struct tcp_info` in linux/tcp.h: `tcpi_unacked`, which a listener has for those that wait to be accepted,
`tcpi_last_data_sent` and `tcpi_last_data_recv` in milliseconds, `tcpi_bytes_acked` and `tcpi_bytes_received`."""


class ClientSockets:
    """The sockets of one port: its listener, and the connections of its clients."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener: int | None = None
        self._search_from = 0.0

    def connections(self) -> list[Connection]:
        """All connections. For another thread than the loop's."""
        found = []
        for fd, sock in self._own():
            if not _listens(sock):
                # Descriptors come and go meanwhile.
                with suppress(OSError):
                    found.append(_seen(fd, _peer_of(sock), sock))
            if len(found) % SLICE == 0:
                time.sleep(PAUSE_SECS)
        return found

    def waiting(self) -> int:
        """How many connections the kernel holds that the server has not accepted. Takes microseconds."""
        fd = self._listener if self._listener is not None else self._search()
        if fd is not None:
            with suppress(OSError), _borrowed(fd) as sock:
                if self._is_own(sock) and _listens(sock):
                    waiting: int = _info(sock)[0]
                    return waiting
        self._listener = None
        return 0

    def _search(self) -> int | None:
        """The listener, looked for once in a while: there is none before the start, nor at the end."""
        now = time.monotonic()
        if now >= self._search_from:
            self._search_from = now + SEARCH_SECS
            self._listener = next((fd for fd, sock in self._own() if _listens(sock)), None)
        return self._listener

    def _own(self) -> Iterator[tuple[int, socket.socket]]:
        try:
            names = os.listdir(OWN_FILES)
        except OSError:  # no Linux, or no descriptor left to look with
            return
        for name in names:
            fd = int(name)
            with suppress(OSError):
                if stat.S_ISSOCK(os.fstat(fd).st_mode):
                    with _borrowed(fd) as sock:
                        if self._is_own(sock):
                            yield fd, sock

    def _is_own(self, sock: socket.socket) -> bool:
        if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
            return False
        own: bool = sock.getsockname()[1] == self._port
        return own


def shut(connection: Connection, unless: Callable[[Connection, Connection], bool]) -> bool:
    """End a connection; false if it is another by now, or `unless` says so of what was seen of it and what is."""
    # A duplicate keeps the descriptor from becoming another connection between the look and the act.
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fd)) as sock:
        if _peer_of(sock) != connection.peer or unless(
            connection, _seen(connection.fd, connection.peer, sock)
        ):
            return False
        sock.shutdown(socket.SHUT_RDWR)
        return True
    return False


@contextmanager
def _borrowed(fd: int) -> Iterator[socket.socket]:
    """The socket of a descriptor, which stays open."""
    sock = socket.socket(fileno=fd)
    try:
        yield sock
    finally:
        sock.detach()


def _listens(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _peer_of(sock: socket.socket) -> Peer:
    """A client's address, without the interface of a link-local one, as the server has it."""
    host, port = sock.getpeername()[:2]
    return host.partition("%")[0], str(port)


def _info(sock: socket.socket) -> tuple[int, ...]:
    return _TCP_INFO.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))


def _seen(fd: int, peer: Peer, sock: socket.socket) -> Connection:
    _, last_sent, last_received, acknowledged, received = _info(sock)
    quiet = min(last_sent, last_received) / 1000
    return Connection(fd, peer, _unacknowledged(sock.fileno()), acknowledged, received, quiet)


def _unacknowledged(fd: int) -> int:
    """Bytes that were handed to the kernel and not acknowledged by the peer (tcp(7), SIOCOUTQ)."""
    count: int = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))[0]
    return count
