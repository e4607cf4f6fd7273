"""One thread writes what many callers queue.

The caller's side takes no lock: appending to a deque is atomic, and a lock could be held by the very thread that a
finaliser interrupts to log. The thread is woken only from sleep; while lines keep coming it looks every `PAUSE`
seconds by itself, so a busy router pays for twenty wake-ups a second and not for one a line.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from fd_router.logs.line import escape

if TYPE_CHECKING:
    from fd_router.logs.sink import Sink

MAX_LINES = 65_536
"""Lines queued at most; more are dropped and counted."""

MAX_CHARS = 32 * 1024 * 1024
"""Characters queued at most, counted without a lock: a race between callers may be off by a line."""

MAX_LINE_CHARS = 262_144
"""A longer line is cut: a policy's explanation with 1,000 workers has 70,000."""

BATCH = 2048
"""Lines written at once. Joining them holds the GIL, which the event loop waits for."""

PAUSE = 0.05
IDLE = 1.0

_CONTROLS = bytes(range(32)) + b"\x7f"


class Writer:
    """A bounded queue of lines and the thread that empties it into a sink."""

    _lines: deque[str]
    _wake: threading.Event
    _thread: threading.Thread
    _asleep: bool
    _closing: bool

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._dropped = 0
        self._failed = 0
        self._limit = MAX_LINES
        self._failing = False
        self._start()
        mine = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _restart(mine()))
        atexit.register(self.close)

    @property
    def lost(self) -> int:
        """Lines that will never be written."""
        return self._dropped + self._failed

    def put(self, line: str) -> None:
        """Queue a line, or count it as lost."""
        size = len(line)
        if size > MAX_LINE_CHARS:
            line = line[:MAX_LINE_CHARS]
            size = MAX_LINE_CHARS
        if len(self._lines) >= self._limit or self._queued - self._taken + size > MAX_CHARS:
            self._dropped += 1
            return
        self._queued += size
        self._lines.append(line)
        if self._asleep:
            self._asleep = False
            self._wake.set()

    def close(self, timeout_secs: float = 5.0) -> None:
        """Empty the queue within `timeout_secs`; what is left, and what comes later, is lost. Idempotent."""
        if self._limit == 0:
            return
        atexit.unregister(self.close)
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_secs)
        self._limit = 0
        self._dropped += len(self._lines)

    def _start(self) -> None:
        self._lines = deque()
        self._queued = 0
        self._taken = 0
        self._asleep = False
        self._closing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fd-router-log", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            closing = self._closing  # read first: what is queued before `close` is taken below
            batch = self._take()
            self._write(batch)
            if len(batch) == BATCH:
                continue
            if closing:
                break
            self._rest(busy=bool(batch))
        self._sink.close()

    def _take(self) -> list[str]:
        pop = self._lines.popleft
        batch = [pop() for _ in range(min(len(self._lines), BATCH))]
        self._taken += sum(map(len, batch))
        return batch

    def _write(self, batch: list[str]) -> None:
        failure: Exception | None = None
        left = len(batch)
        try:
            for outlet, lines in self._sink.route(batch):
                left -= len(lines)
                lost, error = outlet.write(encode(lines), len(lines))
                self._failed += lost
                failure = error or failure
        except Exception as error:  # without its thread the log would be gone for good
            self._failed += left
            failure = error
        if failure is not None and not self._failing:
            complain(failure)
        if batch:
            self._failing = failure is not None

    def _rest(self, *, busy: bool) -> None:
        self._wake.clear()
        if busy:
            # Cleared before: `put` left it set when it ended the last sleep. A `close` in between is seen after it.
            if not self._closing:
                self._wake.wait(PAUSE)
            return
        self._asleep = True
        # A line or a `close` that came before `_asleep` was set woke nobody.
        if not self._lines and not self._closing:
            self._wake.wait(IDLE)
        self._asleep = False


def _restart(writer: Writer | None) -> None:
    """After a fork: threads stay behind in the parent, which also writes what was queued there."""
    if writer is not None and not writer._closing:
        writer._start()


def complain(error: Exception) -> None:
    """Say on standard error, which may be broken too, that lines are being lost."""
    text = f"fd-router: log lines are lost until this is mended: {escape(str(error))}\n"
    with suppress(OSError):
        os.write(2, text.encode(errors="replace"))


def encode(lines: list[str]) -> bytes:
    """Lines as bytes, each ended by one newline; whatever would break a line, or UTF-8, is escaped."""
    text = "\n".join(lines) + "\n"
    if text.isascii():
        data = text.encode("ascii")
        if len(data) - len(data.translate(None, _CONTROLS)) == len(lines):
            return data
    return ("\n".join(map(escape, lines)) + "\n").encode("utf-8")
