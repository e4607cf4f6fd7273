"""The latest first-byte times of each worker: what tells whether an engine is slow now."""

from __future__ import annotations

from array import array

KEPT = 128
"""Times of each worker: 1 KiB."""
MAX_WORKERS = 8_192
"""Workers of which times are kept, twice as many as may be registered; the first that came is dropped for another."""


class _Ring:
    __slots__ = ("_next", "times")

    def __init__(self) -> None:
        self.times = array("d")
        self._next = 0

    def add(self, secs: float) -> None:
        if len(self.times) < KEPT:
            self.times.append(secs)
        else:
            self.times[self._next] = secs
            self._next = (self._next + 1) % KEPT


class Latest:
    """The last `KEPT` times of each worker, by its url. Fed and read in the event loop's thread."""

    def __init__(self) -> None:
        self._rings: dict[str, _Ring] = {}

    def add(self, url: str, secs: float) -> None:
        """Take a time."""
        try:
            self._rings[url].add(secs)
        except KeyError:
            if len(self._rings) >= MAX_WORKERS:
                del self._rings[next(iter(self._rings))]
            self._rings.setdefault(url, _Ring()).add(secs)

    def forget(self, url: str) -> None:
        """The worker left."""
        self._rings.pop(url, None)

    def quantiles(self, url: str, wanted: tuple[float, ...]) -> list[float] | None:
        """By nearest rank; None where nothing is known."""
        ring = self._rings.get(url)
        if ring is None:
            return None
        times = sorted(ring.times)
        return [times[min(len(times) - 1, int(share * len(times)))] for share in wanted]
