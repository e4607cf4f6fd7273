"""Loads: what each replica has under way at each worker, told to the others as state.

A message has the rows that changed since the one before, or all of them; once a second it is all. So a message that is
lost is mended within a second, and a replica that is silent for `SILENT_SECS` counts no more: its load cannot stay.
They go by a short stream of their own, which is read together with that of prefixes: where nothing changes there is one
message a second. What they are made of only the extension knows (`Scheduler.take_loads`, `Scheduler.apply_loads`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router._core import Scheduler

ALL_SECS = 1.0
"""Between two messages with all rows."""
SILENT_SECS = 3.0
"""After which a replica counts no more."""
MAX_REPLICAS = 64
"""Others that are listened to."""
MAX_NAME = 128
"""Bytes of a replica's name."""
MAX_MESSAGE = 1 << 20
"""Bytes of a message that is read: 4,096 rows, and some."""


class OwnLoads:
    """What is to be told of ours."""

    def __init__(self, scheduler: Scheduler, clock: Callable[[], float]) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._all_next = 0.0

    def forget_told(self) -> None:
        """Nobody may have heard what was told: the next message has all rows."""
        self._all_next = 0.0

    def message(self) -> bytes | None:
        """What is new since the last one; None for nothing."""
        whole = self._clock() >= self._all_next
        if whole:
            self._all_next = self._clock() + ALL_SECS
        return self._scheduler.take_loads(whole)


class OtherLoads:
    """What others have under way, in the scheduler by replica."""

    def __init__(self, scheduler: Scheduler, clock: Callable[[], float]) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._heard: dict[str, float] = {}
        self.garbage = 0
        """Messages that no replica of this version sends, or that there was no room for."""

    def replicas(self) -> list[tuple[str, float]]:
        """(name, seconds since it was heard) of those that count."""
        return sorted((name, self._clock() - heard) for name, heard in self._heard.items())

    def running(self) -> dict[str, int]:
        """Requests that others have under way, by worker."""
        return dict(self._scheduler.running_elsewhere())

    def take(self, origin: bytes, data: bytes, age: float) -> None:
        """A message of another replica has come, that was written `age` seconds ago."""
        replica = origin.decode(errors="replace")
        fits = len(data) <= MAX_MESSAGE and len(origin) <= MAX_NAME
        known = replica in self._heard or len(self._heard) < MAX_REPLICAS
        if fits and known and self._scheduler.apply_loads(replica, data):
            self._heard[replica] = self._clock() - age
        else:
            self.garbage += 1

    def expire(self) -> None:
        """Forget those that are silent."""
        for replica, heard in list(self._heard.items()):
            if self._clock() - heard >= SILENT_SECS:
                del self._heard[replica]
                self._scheduler.tell_foreign(replica, [])
