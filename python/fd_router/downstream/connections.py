"""Client connections as the kernel sees them: how many there are, and which of them take no byte any more.

The HTTP server says neither. A client that stops reading would hold its engine's slot for ever: its answer waits in the
server's buffers and the relay's, and the engine is not read. TCP's own limit (TCP_USER_TIMEOUT) is no help, as it ends
clients too that read slowly but steadily. So the router looks at its own sockets from time to time: one with bytes to
send of which none was acknowledged for the whole limit is shut down, which ends the request as a client's leaving does.

Linux only; elsewhere nothing is seen.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import stat
import struct
import termios
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from fd_router.observe.logs import messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fd_router.observe.logs import Log
    from fd_router.observe.metrics import Metrics

OWN_FILES = "/proc/self/fd"
SLICE = 128
"""Sockets between two pauses, in which the event loop gets the GIL."""
PAUSE_SECS = 0.0001
_TCP_INFO_BYTES = 128
_BYTES_ACKED = struct.Struct("=120xQ")
"""`tcpi_bytes_acked` in `struct tcp_info` of linux/tcp.h."""


class Connection(NamedTuple):
    """A client's connection with bytes to send."""

    fd: int
    peer: tuple[str, int]
    acknowledged: int
    """Bytes that the client's kernel has taken since the connection was made."""


class ClientConnections:
    """Looks at the connections to the router's port."""

    def __init__(
        self,
        port: int,
        *,
        limit: int,
        write_timeout_secs: float,
        log: Log,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limit` is how many connections the server takes; a `write_timeout_secs` of 0 is none."""
        self._port = port
        self._limit = limit
        self._timeout = write_timeout_secs
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._full = False
        self._since: dict[tuple[str, int], tuple[int, float]] = {}
        """By peer: bytes acknowledged, and since when it is that many."""

    @property
    def interval(self) -> float:
        """Seconds between two rounds, a fraction of what they measure."""
        return min(10.0, self._timeout / 4) if self._timeout else 10.0

    async def round(self, late: float) -> None:
        """Count the connections, and end those that stand still; after a stop of the process all begin anew."""
        if late > self.interval:
            self._since.clear()
        count, waiting = await asyncio.get_running_loop().run_in_executor(None, self._look)
        self._metrics.client_connections(count)
        full = count >= self._limit
        if full and not self._full:
            self._log.warn(
                messages.limit_reached(f"{count} client connections (server.max-connections); more must wait")
            )
        self._full = full
        if self._timeout:
            self._end_stalled(waiting)

    def _look(self) -> tuple[int, list[Connection]]:
        """How many connections there are, and those with bytes to send. For another thread than the loop's."""
        count = 0
        waiting = []
        for fd, peer, sock in self._clients():
            count += 1
            if _unacknowledged(fd):
                info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
                waiting.append(Connection(fd, peer, _BYTES_ACKED.unpack(info)[0]))
            if count % SLICE == 0:
                time.sleep(PAUSE_SECS)
        return count, waiting

    def _clients(self) -> Iterator[tuple[int, tuple[str, int], socket.socket]]:
        try:
            names = os.listdir(OWN_FILES)
        except FileNotFoundError:
            return
        for name in names:
            fd = int(name)
            # Descriptors come and go meanwhile.
            with suppress(OSError):
                if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                    continue
                sock = socket.socket(fileno=fd)
                try:
                    peer = self._peer(sock)
                    if peer is not None:
                        yield fd, peer, sock
                finally:
                    sock.detach()  # it is the server's

    def _peer(self, sock: socket.socket) -> tuple[str, int] | None:
        """The client at the other end; None for a socket that is no client's."""
        if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
            return None
        if sock.getsockname()[1] != self._port or sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        host, port = sock.getpeername()[:2]
        return host, port

    def _end_stalled(self, waiting: list[Connection]) -> None:
        now = self._clock()
        before, self._since = self._since, {}
        for connection in waiting:
            known = before.get(connection.peer)
            if known is None or known[0] != connection.acknowledged:
                known = (connection.acknowledged, now)
            if now - known[1] < self._timeout:
                self._since[connection.peer] = known
            elif self._shut(connection):
                self._metrics.written_off()
                host, port = connection.peer
                self._log.warn(messages.written_off(f"{host}:{port}", self._timeout))

    @staticmethod
    def _shut(connection: Connection) -> bool:
        # A duplicate keeps the descriptor from becoming another connection between the look and the act.
        with suppress(OSError), socket.socket(fileno=os.dup(connection.fd)) as sock:
            if sock.getpeername()[:2] == connection.peer:
                sock.shutdown(socket.SHUT_RDWR)
                return True
        return False


def _unacknowledged(fd: int) -> int:
    """Bytes that were handed to the kernel and not acknowledged by the peer (tcp(7), SIOCOUTQ)."""
    count: int = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))[0]
    return count
