"""Client connections that stand still, found from time to time and ended.

A client that stops reading would hold its engine's slot for ever: its answer waits in the server's buffers and the
relay's, and the engine is not read. TCP's own limit (TCP_USER_TIMEOUT) is no help, as it ends clients too that read
slowly but steadily. So a connection with bytes to send of which none was acknowledged for the whole limit is shut down,
which ends the request as a client's leaving does. So are those that `idle` finds: slow heads, and connections that
nobody uses.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from fd_router.downstream.idle import IdleWatch
from fd_router.downstream.sockets import shut
from fd_router.observe.logs import messages

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from fd_router.config import ServerConfig
    from fd_router.downstream.idle import Connection, Peer
    from fd_router.downstream.sockets import ClientSockets
    from fd_router.observe.logs import Log
    from fd_router.observe.metrics import Metrics

LAST_LOOK_SECS = 0.2
"""Seconds between finding a connection idle and ending it: an answer may be on its way from the app to the socket."""


class ClientConnections:
    """Looks at the connections to the router's port."""

    def __init__(
        self,
        server: ServerConfig,
        sockets: ClientSockets,
        *,
        active: Container[Peer],
        log: Log,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`active` are the clients with a request under way."""
        self._sockets = sockets
        self._header_timeout = server.header_timeout_secs
        self._idle = IdleWatch(server.header_timeout_secs, server.keep_alive_secs)
        self._active = active
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._since: dict[Peer, tuple[int, float]] = {}
        """By peer: bytes acknowledged, and since when it is that many."""
        self.reconfigure(server)

    def reconfigure(self, server: ServerConfig) -> None:
        """Go by another limit of taking no byte. The server itself knows the others, and they stay."""
        self._timeout = server.write_timeout_secs
        limits = (self._timeout, server.header_timeout_secs, server.keep_alive_secs)
        self.interval = min(10.0, *(limit / 4 for limit in limits if limit))
        """Seconds between two rounds, a fraction of what they measure."""

    async def round(self, late: float) -> None:
        """Count the connections, and end those that stand still; after a stop of the process all begin anew."""
        if late > self.interval:
            self._since.clear()
            self._idle.forget()
        connections = await asyncio.get_running_loop().run_in_executor(None, self._sockets.connections)
        self._metrics.client_connections(len(connections))
        if self._timeout:
            self._end_stalled(connection for connection in connections if connection.unacknowledged)
        await self._end_idle(connections)

    def _end_stalled(self, waiting: Iterable[Connection]) -> None:
        now = self._clock()
        before, self._since = self._since, {}
        for connection in waiting:
            known = before.get(connection.peer)
            if known is None or known[0] != connection.acknowledged:
                known = (connection.acknowledged, now)
            if now - known[1] < self._timeout:
                self._since[connection.peer] = known
            elif shut(connection, unless=lambda _before, _now: False):
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
        ended = await loop.run_in_executor(None, end_unused, slow, self._active, _answered)
        if ended:
            self._log.warn(messages.slow_heads(ended, self._header_timeout))
        await loop.run_in_executor(None, end_unused, silent + idle, self._active, _answered)


def end_unused(
    connections: Iterable[Connection],
    active: Container[Peer],
    unless: Callable[[Connection, Connection], bool],
) -> int:
    """End those without a request, see `shut`; how many that were. For another thread than the loop's."""
    return sum(shut(each, unless) for each in connections if each.peer not in active)


def _answered(before: Connection, now: Connection) -> bool:
    return bool(now.unacknowledged) or now.acknowledged != before.acknowledged
