"""Background rounds: one after another, never overlapping, none of them able to end the others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fd_router.runtime.panic import ENDINGS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Periodic:
    """Calls `action(late)` every `interval` seconds, the first time after one interval.

    `late` is by how many seconds the round started behind its time: a large value means that the process was
    stopped or starved. A round that fails, by a panic too, is reported to `on_error`, and the next one comes all the
    same; so it does after a round that was cancelled by anybody but `stop`.
    """

    def __init__(
        self,
        interval: float,
        action: Callable[[float], Awaitable[None]],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._interval = interval
        self._action = action
        self._on_error = on_error
        self._task: asyncio.Task[None] | None = None
        self._due = 0.0
        self._rest: asyncio.Future[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin; call once, in a running loop."""
        self._task = asyncio.get_running_loop().create_task(self._rounds())

    def set_interval(self, interval: float) -> None:
        """Have the next round, and those after it, within another interval from now."""
        if interval == self._interval:
            return
        self._interval = interval
        self.hurry(interval)

    def hurry(self, secs: float = 0.0) -> None:
        """Have the next round in so many seconds at the latest; it begins no sooner than the one under way ends."""
        self._due = min(self._due, asyncio.get_running_loop().time() + secs)
        if self._rest is not None:
            _wake(self._rest)

    async def stop(self) -> None:
        """End after cancelling the round under way."""
        if self._task is not None:
            self._stopping = True
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _rounds(self) -> None:
        clock = asyncio.get_running_loop().time
        self._due = clock() + self._interval
        while True:
            await self._wait()
            late = clock() - self._due
            self._due = max(self._due + self._interval, clock())
            try:
                await self._action(late)
            except asyncio.CancelledError as error:
                # A future that somebody else cancelled arrives here as our own end would.
                if self._stopping:
                    raise
                self._on_error(error)
            except ENDINGS:
                raise
            except BaseException as error:
                self._on_error(error)

    async def _wait(self) -> None:
        """Until the next round is due, which may become sooner meanwhile; other tasks come between two rounds."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        while loop.time() < self._due:
            self._rest = loop.create_future()
            timer = loop.call_at(self._due, _wake, self._rest)
            try:
                await self._rest
            finally:
                timer.cancel()
                self._rest = None


def _wake(rest: asyncio.Future[None]) -> None:
    if not rest.done():
        rest.set_result(None)
