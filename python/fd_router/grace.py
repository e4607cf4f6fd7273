"""Callbacks about what takes long, at almost no cost for what does not.

A timer or a watch for each request would cost more than many requests do themselves: waking another thread takes
microseconds. What is over within the grace only stands in a queue for a moment.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Pending:
    """Something under way; `cancel` it when it is over."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """It is over: nobody is called."""
        self.callback = None


class Grace:
    """Calls back, in one event loop, about what is not over `delay` seconds after it was added.

    Holds an entry for everything added within the last `delay` seconds, over or not.
    """

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._queue: deque[tuple[float, Pending]] = deque()
        self._armed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, callback: Callable[[], None]) -> Pending:
        """Begin to wait."""
        pending = Pending(callback)
        loop = self._loop
        if loop is None:  # kept: asking for it is a system call
            loop = self._loop = asyncio.get_running_loop()
        self._queue.append((loop.time() + self._delay, pending))
        if not self._armed:
            self._armed = True
            loop.call_later(self._delay, self._sweep)
        return pending

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._queue and self._queue[0][0] <= now:
            callback = self._queue.popleft()[1].callback
            if callback is not None:
                callback()
        self._armed = bool(self._queue)
        if self._armed:
            # At most once in a tenth of the delay, however the entries lie.
            loop.call_later(max(self._queue[0][0] - now, self._delay / 10), self._sweep)
