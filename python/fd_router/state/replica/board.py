"""The board: what all replicas agree on, one entry a name, of which the newest statement counts.

A statement is (number, replica, value). Whoever says something new takes a number above all that it has seen of that
name; of two the larger number counts, and of equal numbers the larger name of the replica. So everybody who has seen
the same statements has the same board, in whatever order they came and however long they were apart: no clocks are
compared, and the server decides nothing. It only keeps the entries, each for a time, and a replica that finds an older
one there than it has puts its own back.

A value of None says that there is nothing any more. It is kept for `GONE_SECS`, so that a replica that was cut off for
less does not bring back what it never heard the end of.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fd_router.state.replica.wire import Command, Wire

Value: TypeAlias = "dict[str, Any] | None"

LIVE_SECS = 40
"""How long an entry outlives the last replica that refreshed it."""
REFRESH_SECS = 10.0
"""Between two times that a replica refreshes entries, and reads the whole board."""
GONE_SECS = 900
"""How long it is remembered that something is gone."""
MAX_NAMES = 16_384
"""Entries of a board that are read: of 4,096 workers and their orders, and as many that are gone."""
MAX_VALUE = 80_000
"""Bytes of an entry that are read: a registration's, and some."""
CHUNK = 64
"""Entries of one exchange with the server, so that the loop is not kept for long."""
LAST_NUMBER = 1 << 53
FAR = 1 << 20
"""Writes between two looks; a revision farther from the one before is that of a server that lost what it had."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One statement; they are ordered as they count."""

    number: int
    replica: str
    value: Value

    def newer_than(self, other: Entry | None) -> bool:
        """Whether it is the one that counts."""
        return other is None or (self.number, self.replica) > (other.number, other.replica)


@dataclass(frozen=True, slots=True)
class Found:
    """What a round came to."""

    changed: list[str]
    """Names whose value is another one than before."""
    full: bool
    """Whether the whole board was read."""
    written: bool
    """Whether the server was told anything."""


def encode(entry: Entry) -> bytes:
    """An entry as the server keeps it."""
    return orjson.dumps({"n": entry.number, "by": entry.replica, "value": entry.value})


def decode(data: object) -> Entry | None:
    """What `encode` made; None for anything else."""
    try:
        document = orjson.loads(data) if isinstance(data, bytes) else None
    except orjson.JSONDecodeError:
        return None
    match document:
        case {"n": int() as number, "by": str() as replica, "value": dict() | None as value}:
            usable = not isinstance(number, bool) and 0 < number < LAST_NUMBER and len(replica) <= 128
            return Entry(number, replica, value) if usable else None
        case _:
            return None


class Board:
    """A replica's copy, and its way to the server's. To be used by one task at a time."""

    def __init__(self, replica: str, prefix: str, clock: Callable[[], float]) -> None:
        self._replica = replica
        self._prefix = prefix
        self._index, self._revision = f"{prefix}index", f"{prefix}revision"
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._gone: dict[str, float] = {}
        """When it was first known of an entry that it is gone."""
        self._said: dict[str, Value] = {}
        self._changed: set[str] = set()
        """What is to be returned by a round: one that fails later on leaves it to the next."""
        self._seen: int | None = None
        self._read_next = 0.0
        self.garbage = 0
        """Entries found on the server that nobody of this version wrote."""

    def value(self, name: str) -> Value:
        """What counts of a name; None for one that is gone or was never there."""
        if name in self._said:
            return self._said[name]
        entry = self._entries.get(name)
        return entry.value if entry is not None else None

    def knows(self, name: str) -> bool:
        """Whether anything was said of a name, be it that it is gone."""
        return name in self._said or name in self._entries

    def names(self) -> list[str]:
        """Those that are there."""
        return [name for name, entry in self._entries.items() if entry.value is not None]

    def say(self, name: str, value: Value) -> None:
        """Something is new here; the server hears of it with the next round."""
        self._said[name] = value

    @property
    def waiting(self) -> bool:
        """Whether something was said that the server has not heard."""
        return bool(self._said)

    def forget_server(self) -> None:
        """It may be another one, or have lost what it had: the next round reads all."""
        self._seen, self._read_next = None, 0.0

    async def round(self, wire: Wire, alive: Callable[[str], bool]) -> Found:
        """Take what is new on the server, and tell it what is new here. Raises `WireError`.

        `alive` says whether this replica keeps an entry there.
        """
        (answer,) = await wire.do(("GET", self._revision))
        revision = int(answer) if isinstance(answer, bytes) and answer.isdigit() else 0
        lost = self._seen is not None and not 0 <= revision - self._seen < FAR
        full = lost or self._clock() >= self._read_next
        wanted: set[str] = set()
        if full or revision != self._seen:
            older, current = await self._read(wire)
            wanted |= older
            if full:
                wanted |= self._missing(older | current, alive)
        wanted |= self._number()
        self._seen = revision
        for chunk in chunks(sorted(wanted), CHUNK):
            await self._write(wire, chunk)
        if full:
            await self._refresh(wire, alive)
            self._read_next = self._clock() + REFRESH_SECS
        changed, self._changed = sorted(self._changed), set()
        return Found(changed, full, bool(wanted))

    async def _read(self, wire: Wire) -> tuple[set[str], set[str]]:
        """Names that are older there; and those that are the newest there."""
        (listed,) = await wire.do(("ZRANGE", self._index, 0, MAX_NAMES - 1))
        names = [name.decode(errors="replace") for name in listed if isinstance(name, bytes)]
        older: set[str] = set()
        current: set[str] = set()
        expired: list[str] = []
        for chunk in chunks(names, CHUNK):
            ranges = (("GETRANGE", f"{self._prefix}{name}", 0, MAX_VALUE) for name in chunk)
            for name, answer in zip(chunk, await wire.ask(*ranges), strict=True):
                theirs, ours = decode(answer), self._entries.get(name)
                if answer == b"":
                    expired.append(name)
                elif theirs is None:
                    self.garbage += 1
                elif not theirs.newer_than(ours):
                    (older if ours is not None and ours.newer_than(theirs) else current).add(name)
                elif self._keep(name, theirs):
                    current.add(name)
                    if ours is None or ours.value != theirs.value:
                        self._changed.add(name)
        if expired:
            await wire.do(("ZREM", self._index, *expired))
        return older, current

    def _keep(self, name: str, entry: Entry) -> bool:
        """Whether there was room."""
        if name not in self._entries and len(self._entries) >= MAX_NAMES:
            if not self._gone:
                return False
            self._drop(next(iter(self._gone)))
        self._entries[name] = entry
        if entry.value is None:
            self._gone.setdefault(name, self._clock())
        else:
            self._gone.pop(name, None)
        return True

    def _missing(self, there: set[str], alive: Callable[[str], bool]) -> set[str]:
        """What the server has lost and is to have back; what nobody keeps any more is forgotten."""
        back = set()
        for name, entry in list(self._entries.items()):
            gone = self._gone.get(name)
            if gone is not None and self._clock() - gone >= GONE_SECS:
                self._drop(name)
            elif name not in there:
                if gone is not None or (entry.value is not None and alive(name)):
                    back.add(name)
                else:
                    self._drop(name)
        return back

    def _drop(self, name: str) -> None:
        del self._entries[name]
        self._gone.pop(name, None)

    def _number(self) -> set[str]:
        """Give what was said its numbers, now that it is known what others said."""
        told = set()
        for name, value in self._said.items():
            ours = self._entries.get(name)
            if ours is not None and ours.value == value:
                continue
            if self._keep(name, Entry((ours.number if ours else 0) + 1, self._replica, value)):
                told.add(name)
        self._said.clear()
        return told

    async def _write(self, wire: Wire, names: list[str]) -> None:
        commands: list[Command] = []
        for name in names:
            entry = self._entries[name]
            secs = LIVE_SECS if entry.value is not None else GONE_SECS
            commands.append(("SET", f"{self._prefix}{name}", encode(entry), "EX", secs))
        commands.append(("ZADD", self._index, *(part for name in names for part in (0, name))))
        # A server that lost it counts from elsewhere, else it might come to the number that somebody has seen.
        commands.append(("SET", self._revision, random.randrange(LAST_NUMBER), "NX"))
        commands.append(("INCR", self._revision))
        revision = (await wire.do(*commands))[-1]
        # Else somebody else has written as well.
        if isinstance(revision, int) and self._seen is not None and revision == self._seen + 1:
            self._seen = revision

    async def _refresh(self, wire: Wire, alive: Callable[[str], bool]) -> None:
        """Have what this replica keeps live on."""
        kept = [name for name, entry in self._entries.items() if entry.value is not None and alive(name)]
        for chunk in chunks(kept, CHUNK):
            # What is gone lives longer than that, and keeps its time.
            await wire.do(
                *(("EXPIRE", f"{self._prefix}{name}", LIVE_SECS, "GT") for name in chunk),
            )
        await wire.do(("EXPIRE", self._index, 2 * GONE_SECS), ("EXPIRE", self._revision, 2 * GONE_SECS))


def chunks(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """In runs of so many."""
    listed = list(items)
    for start in range(0, len(listed), size):
        yield listed[start : start + size]
