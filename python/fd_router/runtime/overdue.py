"""Notice of what is overdue, at almost no cost for what is not.

A timer or a watch for each request would cost more than many requests do themselves: waking another thread takes
microseconds. What is over in time only stands in a set for a moment.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from fd_router.runtime.panic import ENDINGS


class Timed(Protocol):
    """Something that may take long. Told apart by identity."""

    def overdue(self) -> None:
        """It was not over in time."""


class OverdueWatch:
    """Tells, in one event loop, whatever is not over one to two delays after it was added; once."""

    def __init__(self, delay: float) -> None:
        """`delay` is in seconds."""
        self._delay = delay
        # A turn every `delay` seconds makes the young old, and tells the old.
        self._young: set[Timed] = set()
        self._old: set[Timed] = set()
        self._turning = False

    def add(self, item: Timed) -> None:
        """Begin to wait."""
        self._young.add(item)
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_later(self._delay, self._turn)

    def discard(self, item: Timed) -> None:
        """It is over: it is not told. Idempotent."""
        self._young.discard(item)
        self._old.discard(item)

    def _turn(self) -> None:
        late, self._old, self._young = self._old, self._young, set()
        self._turning = bool(self._old)
        if self._turning:
            asyncio.get_running_loop().call_later(self._delay, self._turn)
        for item in late:
            try:
                item.overdue()
            except ENDINGS:
                raise
            except BaseException as error:  # must not keep the others from being told
                context = {"message": "overdue", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
