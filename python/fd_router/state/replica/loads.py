"""Loads: what each replica has under way at each worker, told to the others as state.

A message has the rows that changed since the one before, or all of them; once a second it is all. So a message that is
lost is mended within a second, and a replica that is silent for `SILENT_SECS` counts no more: its load cannot stay.
They go by a short stream of their own, which is read together with that of prefixes: where nothing changes there is one
message a second.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fd_router._core import Scheduler

Row: TypeAlias = "tuple[str, int, int, float, float]"
"""(url, requests under way, their weight, uncached tokens before a first byte, prompt tokens of all)."""

ALL_SECS = 1.0
"""Between two messages with all rows."""
SILENT_SECS = 3.0
"""After which a replica counts no more."""
MAX_REPLICAS = 64
"""Others that are listened to."""
MAX_ROWS = 4_096
"""Of one replica."""
MAX_NAME = 128
"""Bytes of a replica's name."""
MAX_URL = 512
"""Characters of a worker's url."""
MAX_MESSAGE = 1 << 20
"""Bytes of a message that is read: 4,096 rows, and some."""


class OwnLoads:
    """What is to be told of ours."""

    def __init__(self, scheduler: Scheduler, clock: Callable[[], float]) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._told: dict[str, Row] = {}
        self._all_next = 0.0

    def forget_told(self) -> None:
        """Nobody may have heard what was told: the next message has all rows."""
        self._all_next = 0.0

    def message(self) -> bytes | None:
        """What is new since the last one; None for nothing."""
        rows = {row[0]: row for row in self._scheduler.own_loads()}
        whole = self._clock() >= self._all_next
        if whole:
            self._all_next = self._clock() + ALL_SECS
            news = [row for row in rows.values() if any(row[1:])]
        else:
            news = [row for url, row in rows.items() if self._told.get(url) != row]
            news += [(url, 0, 0, 0.0, 0.0) for url in self._told.keys() - rows.keys()]
        self._told = rows
        if not whole and not news:
            return None
        return orjson.dumps({"all": whole, "rows": news[:MAX_ROWS]})


class OtherLoads:
    """What others have under way, in the scheduler by replica."""

    def __init__(self, scheduler: Scheduler, clock: Callable[[], float]) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._rows: dict[str, dict[str, Row]] = {}
        self._heard: dict[str, float] = {}
        self.garbage = 0
        """Messages that no replica of this version sends, or that there was no room for."""

    def replicas(self) -> list[tuple[str, float]]:
        """(name, seconds since it was heard) of those that count."""
        return sorted((name, self._clock() - heard) for name, heard in self._heard.items())

    def running(self) -> dict[str, int]:
        """Requests that others have under way, by worker."""
        found: dict[str, int] = {}
        for rows in self._rows.values():
            for url, row in rows.items():
                found[url] = found.get(url, 0) + row[1]
        return found

    def take(self, origin: bytes, data: bytes, age: float) -> None:
        """A message of another replica has come, that was written `age` seconds ago."""
        message = _decode(data)
        if message is None or len(origin) > MAX_NAME:
            self.garbage += 1
            return
        replica = origin.decode(errors="replace")
        if replica not in self._heard and len(self._heard) >= MAX_REPLICAS:
            self.garbage += 1
            return
        whole, news = message
        rows = {} if whole else self._rows.get(replica, {})
        for row in news:
            if any(row[1:]):
                rows[row[0]] = row
            else:
                rows.pop(row[0], None)
        self._rows[replica] = dict(list(rows.items())[:MAX_ROWS])
        self._heard[replica] = self._clock() - age
        self._scheduler.tell_foreign(replica, list(self._rows[replica].values()))

    def expire(self) -> None:
        """Forget those that are silent."""
        for replica, heard in list(self._heard.items()):
            if self._clock() - heard >= SILENT_SECS:
                del self._heard[replica]
                self._rows.pop(replica, None)
                self._scheduler.tell_foreign(replica, [])


def _decode(data: bytes) -> tuple[bool, list[Row]] | None:
    if len(data) > MAX_MESSAGE:
        return None
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    match document:
        case {"all": bool() as whole, "rows": [*rows]}:
            usable = list(_rows(rows))
            return (whole, usable) if len(usable) == len(rows) <= MAX_ROWS else None
        case _:
            return None


def _rows(rows: Iterable[Any]) -> Iterable[Row]:
    for row in rows:
        match row:
            case [str() as url, *figures] if len(url) <= MAX_URL and _are_usable(figures):
                running, weight, pending, resident = figures
                yield url, int(running), int(weight), float(pending), float(resident)


def _are_usable(figures: list[Any]) -> bool:
    return len(figures) == 4 and all(map(_usable, figures))


def _usable(figure: object) -> bool:
    """A count that can be added up."""
    return (
        isinstance(figure, (int, float))
        and not isinstance(figure, bool)
        and math.isfinite(figure)
        and 0 <= figure < 1 << 53
    )
