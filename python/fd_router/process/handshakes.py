"""What a listener for https needs watching for: it accepts connections without a bound.

granian counts a connection when its handshake is done, and gives a client ten seconds for that. Where more of them come
than there are descriptors, its accepting runs in a circle, in which it ends no connection, not even those whose clients
have left, and hears no signal: it never comes out of that. `downstream.room` closes them in time where they come over
more than a moment; where they come at once the process ends, and the supervisor starts another.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from fd_router.observe.logs import messages
from fd_router.process import descriptors

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router.observe.logs import Log

INTERVAL = 0.1
STUCK_SECS = 0.5
"""How long there may be no descriptor left."""
SHORT = 0.75
"""The part of all descriptors from which on they run short."""


class Handshakes:
    """Looks at the descriptors of a process that listens for https."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._limit = descriptors.limit()
        self._full_since: float | None = None

    def short(self) -> bool:
        """Whether idle connections had better go."""
        return self._limit is not None and descriptors.opened() > SHORT * self._limit

    async def round(self, late: float) -> None:
        """End the process if there is no descriptor left, for longer than those who share them can cause."""
        if self._limit is None or descriptors.opened() < self._limit or late > STUCK_SECS:
            self._full_since = None
            return
        now = self._clock()
        if self._full_since is None:
            self._full_since = now
        if now - self._full_since >= STUCK_SECS:
            self._log.error(messages.handshakes(self._limit))
            self._log.close(STUCK_SECS)
            os._exit(1)
