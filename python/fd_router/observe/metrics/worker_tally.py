"""A counter whose labels name workers, and which forgets those that left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fd_router.observe.metrics.instruments import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router.observe.metrics.families import Family

RETENTION_SECS = 900.0
"""How long the series of a worker that left are still shown: long enough for any scraper to see its last count."""


class WorkerTally(Tally):
    """A counter family with `workers` label values first, each a worker's url or empty.

    A live worker's series only ever grow. Without a scrape nothing is forgotten, and the bound on series holds.
    """

    def __init__(self, family: Family, workers: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(family)
        self._workers = workers
        self._monotonic = monotonic
        self._missed: dict[object, float] = {}

    def prune(self, live: set[str]) -> None:
        """Forget workers that have been out of `live` for `RETENTION_SECS`. One caller at a time."""
        keys = list(self._counts)
        named = {url for key in keys for url in key[: self._workers] if url}
        now = self._monotonic()
        self._missed = {url: self._missed.get(url, now) for url in named - live}
        gone = {url for url, since in self._missed.items() if now - since >= RETENTION_SECS}
        if not gone:
            return
        for key in keys:
            if not gone.isdisjoint(key[: self._workers]):
                self._counts.pop(key, None)
