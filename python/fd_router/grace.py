"""Notice of what takes long, at almost no cost for what does not.

A timer or a watch for each request would cost more than many requests do themselves: waking another thread takes
microseconds. What is over within the grace only stands in a set for a moment.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class Lasting(Protocol):
    """Something that may take long. Told apart by identity."""

    def outlasted(self) -> None:
        """The grace is over."""


class Grace:
    """Tells, in one event loop, whatever is not over one to two delays after it was added; once."""

    def __init__(self, delay: float) -> None:
        """`delay` is in seconds."""
        self._delay = delay
        # A turn every `delay` seconds makes the young old, and tells the old.
        self._young: set[Lasting] = set()
        self._old: set[Lasting] = set()
        self._turning = False

    def add(self, item: Lasting) -> None:
        """Begin to wait."""
        self._young.add(item)
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_later(self._delay, self._turn)

    def discard(self, item: Lasting) -> None:
        """It is over: it is not told. Idempotent."""
        self._young.discard(item)
        self._old.discard(item)

    def _turn(self) -> None:
        outlasted, self._old, self._young = self._old, self._young, set()
        self._turning = bool(self._old)
        if self._turning:
            asyncio.get_running_loop().call_later(self._delay, self._turn)
        for item in outlasted:
            item.outlasted()
