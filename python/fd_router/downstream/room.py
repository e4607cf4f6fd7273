"""Room for new connections where idle ones have taken all of it.

The server accepts so many connections and leaves the rest in the kernel's queue, where they wait without a word. One
without a request needs nobody's patience: so, as soon as somebody waits, as many idle ones are closed as wait, and some
more, so that the next need not wait at all. First go those that were never answered, so that a flood of silent
connections drives itself out, then those that have been quiet for longest. A client meets nothing that it does not meet
when `server.keep-alive-secs` has passed.

Nothing is closed as long as nobody waits. A listener for https lets nobody wait: it accepts whatever comes, and counts
a connection when its handshake is done. There, being short of descriptors is as good as somebody who waits.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from fd_router.downstream.connections import LAST_LOOK_SECS, end_unused
from fd_router.observe.logs import messages

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from fd_router.downstream.idle import Connection, Peer
    from fd_router.downstream.sockets import ClientSockets
    from fd_router.observe.logs import Log
    from fd_router.observe.metrics import Metrics

LOOK_SECS = 0.1
"""Seconds between two looks at the queue; how long somebody waits before room is made."""
REST = 10
"""How many times as long as a look at all connections took nobody looks again: a tenth of a core at most."""


class Room:
    """Makes room at one port. Lives in one event loop."""

    def __init__(
        self,
        sockets: ClientSockets,
        *,
        what: str,
        limit: int,
        spare: int,
        active: Container[Peer],
        short: Callable[[], bool],
        log: Log,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """From `limit` connections on the port is taken for full, and so many and `spare` ones are closed as wait.

        `what` names the connections and their limit; `active` are the clients with a request. `short` tells in
        microseconds whether descriptors run short.
        """
        self._sockets = sockets
        self._what = what
        self._limit = limit
        self._spare = spare
        self._active = active
        self._short = short
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._not_before = 0.0
        self._closed = 0
        """Since the last line."""

    async def round(self, _late: float) -> None:
        """Look at the queue, and make room if somebody waits in it."""
        began = self._clock()
        waiting = self._sockets.waiting()
        if began < self._not_before or not (waiting or self._short()):
            return
        loop = asyncio.get_running_loop()
        connections = await loop.run_in_executor(None, self._sockets.connections)
        now = self._clock()
        self._not_before = now + REST * (now - began)
        if len(connections) < self._limit:
            return  # the server is about to accept them
        idle = sorted((each for each in connections if self._is_idle(each)), key=_worth)
        await asyncio.sleep(LAST_LOOK_SECS)
        without = max(waiting, len(connections) - self._limit - self._spare)
        chosen = idle[: without + self._spare]
        closed = await loop.run_in_executor(None, end_unused, chosen, self._active, _moved)
        self._metrics.made_room(closed)
        self._tell(len(connections), closed)

    def _is_idle(self, connection: Connection) -> bool:
        return not connection.unacknowledged and connection.peer not in self._active

    def _tell(self, count: int, closed: int) -> None:
        self._closed += closed
        if self._log.lasting.met(f"the limit of {self._what}", events=True):
            self._log.warn(messages.connections_full(count, self._what, self._closed))
            self._closed = 0


def _worth(connection: Connection) -> tuple[bool, float]:
    """What goes first is least."""
    return connection.acknowledged > 0, -connection.quiet


def _moved(before: Connection, now: Connection) -> bool:
    return bool(now.unacknowledged) or (now.acknowledged, now.received) != (
        before.acknowledged,
        before.received,
    )
