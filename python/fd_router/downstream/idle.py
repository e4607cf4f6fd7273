"""Which client connections nothing has happened on for too long, as far as the kernel's counters tell.

The HTTP server has one timer from an answer to the next whole head. Two limits are wanted: connections that wait for a
next request are kept for longer than a load balancer keeps them, while a client that does not finish its head holds its
place for a shorter time. So whichever limit is longer is the server's, and the other is found here.

A connection on which the app has no request, and on which no byte waits for the client, is in a head if nothing was
ever answered on it, or if bytes came after the last answer; else it is idle. A part of a head that came between an
answer and the next look is taken for a part of the request before: a client that then falls silent counts as idle, one
that goes on is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

Peer = tuple[str, str]
"""A client's address and port as the server writes them."""


class Connection(NamedTuple):
    """One look at a client's connection."""

    fd: int
    peer: Peer
    unacknowledged: int
    """Bytes that were handed to the kernel and that the client's has not taken."""
    acknowledged: int
    """Bytes that it has taken since the connection was made."""
    received: int
    """Bytes that came from the client since then."""
    quiet: float
    """Seconds since the last of either."""


@dataclass(slots=True)
class _State:
    acknowledged: int
    received: int
    in_head: bool
    since: float


class Overdue(NamedTuple):
    """Connections to be ended."""

    heads: list[Connection]
    idle: list[Connection]


class IdleWatch:
    """Compares the looks."""

    def __init__(self, header_timeout_secs: float, keep_alive_secs: float) -> None:
        self._header_timeout = header_timeout_secs
        self._keep_alive = keep_alive_secs
        self._states: dict[Peer, _State] = {}

    def forget(self) -> None:
        """All begin anew: time has passed in which nobody looked."""
        self._states.clear()

    def look(self, connections: Iterable[Connection], active: Container[Peer], now: float) -> Overdue:
        """The connections that have had their time. `active` are those with a request; `now` is of a steady clock."""
        overdue = Overdue([], [])
        before, self._states = self._states, {}
        for connection in connections:
            busy = connection.unacknowledged or connection.peer in active
            state = self._states[connection.peer] = self._follow(
                before.get(connection.peer), connection, bool(busy), now
            )
            if not busy and now - state.since >= self._limit(state):
                (overdue.heads if state.in_head else overdue.idle).append(connection)
        return overdue

    def _limit(self, state: _State) -> float:
        return self._header_timeout if state.in_head else self._keep_alive

    @staticmethod
    def _follow(state: _State | None, connection: Connection, busy: bool, now: float) -> _State:
        acknowledged, received = connection.acknowledged, connection.received
        if state is None:
            return _State(acknowledged, received, acknowledged == 0, now)
        if busy or acknowledged != state.acknowledged:
            return _State(acknowledged, received, False, now)
        if received != state.received:
            state.received = received
            if not state.in_head:
                state.in_head, state.since = True, now
        return state
