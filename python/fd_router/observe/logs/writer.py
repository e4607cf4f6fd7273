"""One thread writes what many callers queue.

The queue itself is the extension's `Journal`, which lays lines out as they come. The thread is woken only from sleep;
while lines keep coming it looks every `PAUSE` seconds by itself, so a busy router pays for twenty wake-ups a second and
not for one a line.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from fd_router.errors import printable

if TYPE_CHECKING:
    from fd_router._core import Journal
    from fd_router.observe.logs.sink import Sink

PAUSE = 0.05
IDLE = 1.0


class Writer:
    """The thread that empties a journal into a sink."""

    _wake: threading.Event
    _thread: threading.Thread

    def __init__(self, journal: Journal, sink: Sink) -> None:
        self._journal = journal
        self._sink = sink
        self._failed = 0
        self._failing = False
        self._closing = False
        self._reopening = False
        self._start()
        mine = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _restart(mine()))
        atexit.register(self.close)

    @property
    def lost(self) -> int:
        """Lines that will never be written."""
        return self._journal.dropped + self._failed

    def reopen(self) -> None:
        """Have the sink opened anew before it is given a line that comes from now on."""
        self._reopening = True
        self._wake.set()

    def close(self, timeout_secs: float = 5.0) -> None:
        """Empty the queue within `timeout_secs`; what is left, and what comes later, is lost. Idempotent."""
        if self._closing:
            return
        atexit.unregister(self.close)
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_secs)
        self._journal.close()

    def _start(self) -> None:
        self._wake = threading.Event()
        self._journal.open(self._wake.set)
        self._thread = threading.Thread(target=self._run, name="fd-router-log", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        closing = False
        while not closing:
            closing = self._closing  # read first: what is queued before `close` is taken below
            busy = self._empty()
            if not closing:
                self._rest(busy=busy)
        self._sink.close()

    def _empty(self) -> bool:
        """Write what is queued. Returns whether anything was."""
        with suppress(OSError):
            self._sink.tend()
        pieces = len(self._journal)
        # Looked at after the lines were: with one that came after the wish, the wish is seen.
        if self._reopening:
            self._reopening = False
            self._sink.reopen()
        # No more than that: under load there is always a piece that holds one line.
        for _ in range(pieces):
            self._write(*self._journal.take())
        return pieces > 0

    def _write(self, day: str, errors: bool, data: bytes, lines: int) -> None:
        failure: Exception | None
        try:
            lost, failure = self._sink.write(day, errors, data, lines)
        except Exception as error:  # without its thread the log would be gone for good
            lost, failure = lines, error
        self._failed += lost
        if failure is not None and not self._failing:
            complain(failure)
        self._failing = failure is not None

    def _rest(self, *, busy: bool) -> None:
        self._wake.clear()
        if self._closing:
            return
        if busy:
            self._wake.wait(PAUSE)
        elif self._journal.doze():
            self._wake.wait(IDLE)
            self._journal.rise()


def _restart(writer: Writer | None) -> None:
    """After a fork: threads stay behind in the parent, which also writes what was queued there."""
    if writer is not None and not writer._closing:
        writer._start()


def complain(error: Exception) -> None:
    """Say on standard error, which may be broken too, that lines are being lost."""
    text = f"fd-router: log lines are lost until this is mended: {printable(str(error))}\n"
    with suppress(OSError):
        os.write(2, text.encode(errors="replace"))
