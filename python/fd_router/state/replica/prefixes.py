"""Prefixes: which worker was given which, as a stream that every replica writes to and reads whole.

What is written and read here are bytes of the extension (`Scheduler.take_recorded`, `Scheduler.apply_recorded`): block
hashes are the same in every process, so nothing needs translating, and an entry whose parent is not known is dropped
and counted. A replica that starts reads the stream from its first entry, and is warm.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fd_router._core import Scheduler
    from fd_router.state.replica.wire import Command, Wire

BATCH_BYTES = 64 << 10
"""Of one entry of the stream, at most."""
BUDGET_BYTES = 64 << 20
"""Memory for sharing here: of what waits for the server, and of what was told and heard."""
READ_AT_ONCE = 16
"""Entries of one answer."""
BLOCK_MS = 500
"""How long the server holds a question for entries where there are none; shorter than the limit of an answer."""
ENTRY_OVERHEAD = 64
"""Bytes that an entry takes beside its own, about: its id, its fields, the tree that it hangs in."""
MIN_ENTRIES = 64
"""Kept whatever their size."""
MEASURED = 256
"""Entries whose sizes make the mean."""


class Prefixes:
    """Both directions."""

    def __init__(self, replica: str, key: str, scheduler: Scheduler, stream_bytes: int) -> None:
        self._replica = replica.encode()
        self._key = key
        self._scheduler = scheduler
        self._stream_bytes = stream_bytes
        self._mean = 0.0
        self._measured = 0
        self._caught_up = False
        """Whether the end of the stream was reached once. Who does not know it yet must not cut it short."""
        self._last = b"0-0"
        self.unknown = 0
        """Records of others with a parent, or of a worker, that is not known here."""
        self.garbage = 0
        """Entries that no replica of this version wrote."""
        self.applied = 0
        """Records of others that were taken over."""
        scheduler.share(BUDGET_BYTES)

    @property
    def dropped(self) -> int:
        """Records that went beyond the budget, the oldest first."""
        return self._scheduler.sharing()[1]

    def tell_anew(self) -> None:
        """What was told last may be lost: tell each prefix from its beginning once more."""
        self._scheduler.share(BUDGET_BYTES)

    def next_commands(self) -> list[Command]:
        """What is to be written now: at most one entry, and more of them with the next call."""
        data = self._scheduler.take_recorded(BATCH_BYTES)
        if data is None:
            return []
        return [("XADD", self._key, *self._bound(), "*", "by", self._replica, "data", data)]

    def _bound(self) -> tuple[str | int, ...]:
        """How many entries fit into the stream's bytes, by the sizes of those that were read last."""
        if not (self._caught_up and self._measured):
            return ()
        return ("MAXLEN", "~", max(MIN_ENTRIES, int(self._stream_bytes / self._mean)))

    async def read(self, wire: Wire) -> bool:
        """Read on, for `BLOCK_MS` where there is nothing; whether more is there already. Raises `WireError`."""
        asked = ("XREAD", "COUNT", READ_AT_ONCE, "BLOCK", BLOCK_MS, "STREAMS", self._key, self._last)
        (answer,) = await wire.do(asked)
        match answer:
            case None:
                self._caught_up = True
                return False
            case [[_, [*entries]]]:
                for entry in entries:
                    self._take(entry)
                    # One may take a millisecond; requests come between two.
                    await asyncio.sleep(0)
                more = len(entries) >= READ_AT_ONCE
                self._caught_up = self._caught_up or not more
                return more
            case _:
                self.garbage += 1
                return False

    async def check_place(self, wire: Wire) -> None:
        """Begin anew where the stream does: after a server that lost what it had, our place may lie ahead of it."""
        (answer,) = await wire.do(("XREVRANGE", self._key, "+", "-", "COUNT", 1))
        match answer:
            case [[bytes() as newest, *_]] if _place(newest) >= _place(self._last):
                return
            case _:
                self._last = b"0-0"

    def _take(self, entry: object) -> None:
        match entry:
            case [bytes() as place, fields]:
                self._last = place
                self._apply(fields)
            case _:
                self.garbage += 1

    def _apply(self, fields: object) -> None:
        match fields:
            case [b"by", bytes() as origin, b"data", bytes() as data]:
                self._measure(data)
                if origin != self._replica:
                    applied, unknown, bad = self._scheduler.apply_recorded(data)
                    self.applied += applied
                    self.unknown += unknown
                    self.garbage += bad
            case _:
                self.garbage += 1

    def _measure(self, data: bytes) -> None:
        self._measured = min(self._measured + 1, MEASURED)
        self._mean += (len(data) + ENTRY_OVERHEAD - self._mean) / self._measured


def _place(identifier: bytes) -> tuple[int, int]:
    first, _, second = identifier.partition(b"-")
    return (int(first), int(second)) if first.isdigit() and second.isdigit() else (0, 0)
