"""The snapshot: what the scheduler learned, kept in a file, so that a router that starts again goes on with it.

The file stands beside that of the registrations, in one folder and written in the same way. They are two, as each has
its own pace: a registration is to survive at once, and megabytes are not to be written anew for each.

It is written by a thread of its own, which ends with the process: a disk that hangs keeps nobody waiting. What is to be
written comes from the extension piece by piece, so that decisions go on meanwhile.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fd_router.observe.logs import messages
from fd_router.runtime.panic import ENDINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fd_router._core import Scheduler
    from fd_router.observe.logs import Log
    from fd_router.state.store import FileStore

FILE_NAME = "snapshot"
UNWRITTEN = "no snapshot can be written"
ROUND_SECS = 30.0
"""Between two snapshots: what was learned in it is what a router that is killed loses."""
LAST_SECS = 1.0
"""For the last snapshot, at the end of the process; one that takes longer leaves that before it in place."""
RETURN_SECS = 30.0
"""From the start, for an engine to be in service again: its prefixes are kept for it. One that nobody knows any more
registers within 5 s; one that is too busy for the first probe passes a later one."""
MAX_BYTES = 1 << 30
"""A file that is larger was not written by a router."""


class Snapshots:
    """Reads the snapshot of a process before this one, and writes those of this one."""

    def __init__(
        self,
        store: FileStore | None,
        scheduler: Scheduler,
        log: Log,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """Without a `store` nothing is read or written. `wall` gives seconds since the epoch."""
        self._store = store
        self._scheduler = scheduler
        self._log = log
        self._clock = clock
        self._wall = wall
        self._turn = threading.Lock()
        self._writer: threading.Thread | None = None
        self._wanted = False
        self._given_up = False
        self._written_at = clock()
        self.failures = 0
        """Snapshots that could not be written."""
        self.written_bytes = 0
        """Of the last one that was written."""
        self.restored_blocks = 0
        """Blocks of the prefix tree that this process began with."""

    @property
    def age(self) -> float:
        """Seconds since the last one was written, or the start; 0 where none is to be."""
        return self._clock() - self._written_at if self._store is not None else 0.0

    def load(self) -> None:
        """Go on from what a process before this one wrote, before workers come in; trouble is logged."""
        if self._store is None:
            return
        try:
            data = self._store.read(MAX_BYTES)
            if data is None:
                return
            self.restored_blocks, workers = self._scheduler.restore(data, self._wall())
        except (OSError, ValueError) as error:
            self._log.warn(messages.snapshot_unused(error))
        else:
            self._log.info(messages.snapshot_used(self.restored_blocks, workers))

    async def round(self, _late: float = 0.0) -> None:
        """Begin to write one, unless one is being written."""
        self.begin()

    def begin(self) -> None:
        """Write what is known now, after what is being written."""
        if self._store is None:
            return
        with self._turn:
            self._wanted = True
            if self._writer is None:
                self._writer = threading.Thread(target=self._run, args=[self._store], daemon=True)
                self._writer.start()

    def end(self, secs: float = LAST_SECS) -> None:
        """Wait until what was begun is written, at most so long; then give it up."""
        writer = self._writer
        if writer is not None:
            writer.join(secs)
            self._given_up = True

    def _run(self, store: FileStore) -> None:
        while self._next():
            try:
                self.written_bytes = store.write_pieces(self._pieces())
            except ENDINGS:
                raise
            except BaseException as error:
                self._failed(error)
            else:
                self._written_at = self._clock()
                self._log.lasting.over(UNWRITTEN)

    def _next(self) -> bool:
        with self._turn:
            wanted, self._wanted = self._wanted, False
            if not wanted:
                self._writer = None
            return wanted

    def _pieces(self) -> Iterator[bytes]:
        copy = self._scheduler.copy()
        while (piece := copy.piece(self._wall())) is not None:
            if self._given_up:
                raise TimeoutError("the process ends")
            yield piece

    def _failed(self, error: BaseException) -> None:
        self.failures += 1
        # Not the whole text, in which a path may be another one each time.
        cause = f"{type(error).__name__} {getattr(error, 'errno', None) or error}"
        if self._log.lasting.met(UNWRITTEN, cause=cause):
            self._log.error(messages.snapshot_failed(error))
