"""Conditions that last, such as an engine without metrics: said once, again every `AGAIN_SECS`, and at their end.

One that has a cause is said again at once when that is another one: whoever mends a file wants to know what is wrong
with it now.

Who meets a condition says so each time, and here is decided whether a line tells of it. Some conditions are seen to
end, by a poll that succeeds. Of others only the single events are seen, as of a limit that turns requests away: those
are over when `QUIET_SECS` have passed without one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from fd_router.observe.logs import messages

if TYPE_CHECKING:
    from collections.abc import Callable

AGAIN_SECS = 300.0
QUIET_SECS = 30.0
ROUND_SECS = 5.0
"""Between two looks at what has been quiet."""
MAX_KEPT = 4096
"""Conditions that are known at once; beyond them the one that began first is forgotten."""


class Condition(NamedTuple):
    """One that lasts. Times are seconds of a monotonic clock."""

    begun: float
    told: float
    seen: float
    times: int
    events: bool
    cause: str


class Lasting:
    """What lasts at present, of one router. May be told from any thread."""

    def __init__(self, tell: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        """`tell` is given the line of an end."""
        self._tell = tell
        self._clock = clock
        self._known: dict[str, Condition] = {}

    def met(self, what: str, *, cause: str = "", events: bool = False) -> bool:
        """A condition is met, of which `what` is the name in the line of its end. Returns whether to tell of it now.

        `cause` is what is told besides, where that may change; `events` is for one that nobody sees ending.
        """
        now = self._clock()
        before = self._known.get(what)
        if before is None:
            if len(self._known) >= MAX_KEPT:
                self._known.pop(next(iter(self._known)), None)
            self._known[what] = Condition(now, now, now, 1, events, cause)
            return True
        again = cause != before.cause or now - before.told >= AGAIN_SECS
        self._known[what] = before._replace(
            told=now if again else before.told, seen=now, times=before.times + 1, cause=cause
        )
        return again

    def over(self, what: str) -> None:
        """A condition is not met any more; nothing where it was not."""
        # Most often there is none at all.
        if self._known and (condition := self._known.pop(what, None)) is not None:
            secs = (condition.seen if condition.events else self._clock()) - condition.begun
            self._tell(messages.over(what, secs, condition.times))

    def forget(self, what: str) -> None:
        """Nobody asks any more."""
        self._known.pop(what, None)

    async def round(self, _late: float) -> None:
        """End what has been quiet."""
        now = self._clock()
        # A copy, as another thread may tell of something meanwhile.
        for what, each in list(self._known.items()):
            if each.events and now - each.seen >= QUIET_SECS:
                self.over(what)
