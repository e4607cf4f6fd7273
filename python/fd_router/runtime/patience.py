"""Limits of time that tell a silent peer from a process that was not there to listen.

A process that was stopped (SIGSTOP, a paused virtual machine) or starved finds timers that are long due and data that
waits in its sockets, and the loop may run the timers first. So a limit that has passed is looked at once more a moment
later, when the sockets have had their turn; and where its timer came far too late, which tells of ourselves and of
nobody else, it gets one fresh period. The relay's limits do the same (`rust/relay/src/watchdog.rs`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

LATE_SECS = 0.5
"""How late a timer may come and still be believed, or a tenth of its limit if that is more."""
MOMENT_SECS = 0.01
"""Until the second look: enough turns of the loop to hear of a socket with bytes in it."""


def is_late(by: float, limit: float) -> bool:
    """Whether a timer of `limit` seconds that came `by` seconds too late tells of ourselves."""
    return by > max(LATE_SECS, limit / 10)


class Patience:
    """Calls `action` when `secs` have passed. To be made in the event loop."""

    __slots__ = ("_action", "_due", "_loop", "_second", "_secs", "_timer", "spent")

    def __init__(self, secs: float, action: Callable[[], object]) -> None:
        self.spent = False
        """Whether the action was called."""
        self._loop = loop = asyncio.get_running_loop()
        self._secs = secs
        self._action = action
        self._second = False
        self._due = loop.time() + secs
        self._timer = loop.call_at(self._due, self._look)

    def cancel(self) -> None:
        """It is over in time. Idempotent."""
        self._timer.cancel()
        self._let_go()

    def _let_go(self) -> None:
        """Whose action it was may own this object, and is not to wait for Python's collector."""
        self._action = _nothing

    def _look(self) -> None:
        if self._second:
            self.spent = True
            action = self._action
            self._let_go()
            action()
            return
        self._second = True
        now = self._loop.time()
        more = self._secs if is_late(now - self._due, self._secs) else MOMENT_SECS
        self._timer = self._loop.call_at(now + more, self._look)


def _nothing() -> None:
    pass


async def within(secs: float, work: Awaitable[T]) -> T:
    """What `work` comes to. Raises `asyncio.TimeoutError`, and cancels it, where that takes longer."""
    task = asyncio.ensure_future(work)
    patience = Patience(secs, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        if patience.spent and task.cancelled():
            raise asyncio.TimeoutError from None
        raise
    finally:
        patience.cancel()
        task.cancel()
