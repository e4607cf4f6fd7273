"""Prefixes: which worker was given which, as a stream that every replica writes to and reads whole.

What is written and read here are bytes of the extension (`Scheduler.take_recorded`, `Scheduler.apply_recorded`): block
hashes are the same in every process, so nothing needs translating, and an entry whose parent is not known is dropped
and counted. A replica that starts reads the stream from its first entry, and is warm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fd_router.state.replica.line import place_of

if TYPE_CHECKING:
    from fd_router._core import Scheduler
    from fd_router.state.replica.wire import Command, Wire

BATCH_BYTES = 64 << 10
"""Of one entry of the stream, at most."""
BUDGET_BYTES = 64 << 20
"""Memory for sharing here: of what waits for the server, and of what was told and heard."""
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
        self.key = key.encode()
        """Of the stream."""
        self._scheduler = scheduler
        self._stream_bytes = stream_bytes
        self._mean = 0.0
        self._measured = 0
        self._caught_up = False
        """Whether the end of the stream was reached once. Who does not know it yet must not cut it short."""
        self.place = b"0-0"
        """Of the entry that was read last."""
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

    def next_entries(self, most: int) -> list[Command]:
        """What is to be written now, in the order in which it is to be."""
        bound = self._bound()
        entries: list[Command] = []
        while len(entries) < most and (data := self._scheduler.take_recorded(BATCH_BYTES)) is not None:
            entries.append(("XADD", self.key, *bound, "*", "by", self._replica, "data", data))
        return entries

    def _bound(self) -> tuple[str | int, ...]:
        """How many entries fit into the stream's bytes, by the sizes of those that were read last."""
        if not (self._caught_up and self._measured):
            return ()
        return ("MAXLEN", "~", max(MIN_ENTRIES, int(self._stream_bytes / self._mean)))

    def caught_up(self) -> None:
        """The end of the stream is reached."""
        self._caught_up = True

    async def check_place(self, wire: Wire) -> None:
        """Begin anew where the stream does: after a server that lost what it had, our place may lie ahead of it."""
        (answer,) = await wire.do(("XREVRANGE", self.key, "+", "-", "COUNT", 1))
        match answer:
            case [[bytes() as newest, *_]] if place_of(newest) >= place_of(self.place):
                return
            case _:
                self.place = b"0-0"

    def take(self, entry: object) -> int:
        """Take over an entry that was read; its bytes."""
        match entry:
            case [bytes() as place, [b"by", bytes() as origin, b"data", bytes() as data]]:
                self.place = place
                self._measure(data)
                if origin != self._replica:
                    applied, unknown, bad = self._scheduler.apply_recorded(data)
                    self.applied += applied
                    self.unknown += unknown
                    self.garbage += bad
                return len(data)
            case [bytes() as place, _]:
                self.place = place
        self.garbage += 1
        return 0

    def _measure(self, data: bytes) -> None:
        self._measured = min(self._measured + 1, MEASURED)
        self._mean += (len(data) + ENTRY_OVERHEAD - self._mean) / self._measured
