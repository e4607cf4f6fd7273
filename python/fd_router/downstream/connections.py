"""Client connections as the kernel sees them: how many there are, and which of them are kept for nothing.

The HTTP server does not say. A client that stops reading would hold its engine's slot for ever: its answer waits in the
server's buffers and the relay's, and the engine is not read. TCP's own limit (TCP_USER_TIMEOUT) is no help, as it ends
clients too that read slowly but steadily. So the router looks at its own sockets from time to time: one with bytes to
send of which none was acknowledged for the whole limit is shut down, which ends the request as a client's leaving does.
So are those that `idle` finds: slow heads, and connections that nobody uses.

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
from typing import TYPE_CHECKING

from fd_router.downstream.idle import Connection, IdleWatch
from fd_router.observe.logs import messages

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator

    from fd_router.config import ServerConfig
    from fd_router.downstream.idle import Peer
    from fd_router.observe.logs import Log
    from fd_router.observe.metrics import Metrics

OWN_FILES = "/proc/self/fd"
SLICE = 128
"""Sockets between two pauses, in which the event loop gets the GIL."""
PAUSE_SECS = 0.0001
LAST_LOOK_SECS = 0.2
"""Seconds between finding a connection idle and ending it: an answer may be on its way from the app to the socket."""
_BYTES = struct.Struct("=120xQQ")
"""`tcpi_bytes_acked` and `tcpi_bytes_received` in `struct tcp_info` of linux/tcp.h."""


class ClientConnections:
    """Looks at the connections to the router's port."""

    def __init__(
        self,
        server: ServerConfig,
        *,
        active: Container[Peer],
        log: Log,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`active` are the clients with a request under way."""
        self._port = server.port
        self._limit = server.max_connections
        self._timeout = server.write_timeout_secs
        self._header_timeout = server.header_timeout_secs
        self._idle = IdleWatch(server.header_timeout_secs, server.keep_alive_secs)
        self._active = active
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._full = False
        self._since: dict[Peer, tuple[int, float]] = {}
        """By peer: bytes acknowledged, and since when it is that many."""
        limits = (self._timeout, server.header_timeout_secs, server.keep_alive_secs)
        self.interval = min(10.0, *(limit / 4 for limit in limits if limit))
        """Seconds between two rounds, a fraction of what they measure."""

    async def round(self, late: float) -> None:
        """Count the connections, and end those that stand still; after a stop of the process all begin anew."""
        if late > self.interval:
            self._since.clear()
            self._idle.forget()
        connections = await asyncio.get_running_loop().run_in_executor(None, self._look)
        count = len(connections)
        self._metrics.client_connections(count)
        full = count >= self._limit
        if full and not self._full:
            self._log.warn(
                messages.limit_reached(f"{count} client connections (server.max-connections); more must wait")
            )
        self._full = full
        if self._timeout:
            self._end_stalled(connection for connection in connections if connection.unacknowledged)
        await self._end_idle(connections)

    def _look(self) -> list[Connection]:
        """All connections. For another thread than the loop's."""
        found = []
        for fd, peer, sock in self._clients():
            found.append(_seen(fd, peer, sock))
            if len(found) % SLICE == 0:
                time.sleep(PAUSE_SECS)
        return found

    def _clients(self) -> Iterator[tuple[int, Peer, socket.socket]]:
        try:
            names = os.listdir(OWN_FILES)
        except OSError:  # no Linux, or no descriptor left to look with
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

    def _peer(self, sock: socket.socket) -> Peer | None:
        """The client at the other end; None for a socket that is no client's."""
        if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
            return None
        if sock.getsockname()[1] != self._port or sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        return _peer_of(sock)

    def _end_stalled(self, waiting: Iterable[Connection]) -> None:
        now = self._clock()
        before, self._since = self._since, {}
        for connection in waiting:
            known = before.get(connection.peer)
            if known is None or known[0] != connection.acknowledged:
                known = (connection.acknowledged, now)
            if now - known[1] < self._timeout:
                self._since[connection.peer] = known
            elif _shut(connection):
                self._metrics.written_off()
                self._log.warn(messages.written_off(":".join(connection.peer), self._timeout))

    async def _end_idle(self, connections: list[Connection]) -> None:
        heads, idle = self._idle.look(connections, self._active, self._clock())
        if not heads and not idle:
            return
        await asyncio.sleep(LAST_LOOK_SECS)
        loop = asyncio.get_running_loop()
        # Balancers connect ahead of their requests: that nothing was sent is nothing to warn of.
        silent = [connection for connection in heads if not connection.received]
        slow = [connection for connection in heads if connection.received]
        ended = await loop.run_in_executor(None, self._shut_quiet, slow)
        if ended:
            self._log.warn(messages.slow_heads(ended, self._header_timeout))
        await loop.run_in_executor(None, self._shut_quiet, silent + idle)

    def _shut_quiet(self, connections: Iterable[Connection]) -> int:
        """End those that are quiet still; how many that were. For another thread than the loop's."""
        return sum(_shut(each, still_quiet=True) for each in connections if each.peer not in self._active)


def _shut(connection: Connection, *, still_quiet: bool = False) -> bool:
    """End a connection, unless it is another by now, or, with `still_quiet`, has sent anything since."""
    # A duplicate keeps the descriptor from becoming another connection between the look and the act.
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fd)) as sock:
        if _peer_of(sock) != connection.peer:
            return False
        if still_quiet:
            now = _seen(sock.fileno(), connection.peer, sock)
            if now.unacknowledged or now.acknowledged != connection.acknowledged:
                return False
        sock.shutdown(socket.SHUT_RDWR)
        return True
    return False


def _peer_of(sock: socket.socket) -> Peer:
    host, port = sock.getpeername()[:2]
    # Without the interface of a link-local address, as the server has it.
    return host.partition("%")[0], str(port)


def _seen(fd: int, peer: Peer, sock: socket.socket) -> Connection:
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES.size)
    return Connection(fd, peer, _unacknowledged(fd), *_BYTES.unpack(info))


def _unacknowledged(fd: int) -> int:
    """Bytes that were handed to the kernel and not acknowledged by the peer (tcp(7), SIOCOUTQ)."""
    count: int = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))[0]
    return count
