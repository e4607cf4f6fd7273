"""Where lines go: a sink chooses an outlet, and an outlet writes whole lines to a file descriptor."""

from __future__ import annotations

import os
import select
from typing import Protocol

READY_SECS = 1.0
"""How long a stream that somebody made non-blocking may stay full before lines are lost."""


class Outlet:
    """One open file descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._torn = False

    def write(self, data: bytes, lines: int) -> tuple[int, OSError | None]:
        """Write `data`, which holds `lines` lines. Returns how many were lost, and why.

        After a failure in the middle of a line the next write begins on a new one.
        """
        rest = memoryview(b"\n" + data if self._torn else data)
        try:
            while rest:
                done = _write_some(self.fd, rest)
                self._torn = rest[done - 1] != 0x0A
                rest = rest[done:]
        except OSError as error:
            return min(lines, bytes(rest).count(b"\n")), error
        return 0, None


def _write_some(fd: int, data: memoryview) -> int:
    try:
        return os.write(fd, data)
    except BlockingIOError:
        select.select([], [fd], [], READY_SECS)
        return os.write(fd, data)


class Sink(Protocol):
    """Decides where lines go. Used by the writer's thread only."""

    def write(self, day: str, errors: bool, data: bytes, lines: int) -> tuple[int, OSError | None]:
        """Write `lines` whole lines of one local date; `errors` says of what level they are where that matters.

        Returns how many were lost, and why.
        """

    def tend(self) -> None:
        """Do what is due without a line; called at least once a second."""

    def reopen(self) -> None:
        """Let go of files, which may have been moved away."""

    def close(self) -> None:
        """Give descriptors back."""


class Streams:
    """ERROR lines to standard error, all others to standard output."""

    def __init__(self) -> None:
        self._stdout = Outlet(1)
        self._stderr = Outlet(2)

    def write(self, _day: str, errors: bool, data: bytes, lines: int) -> tuple[int, OSError | None]:
        """Split by level."""
        return (self._stderr if errors else self._stdout).write(data, lines)

    def tend(self) -> None:
        """Nothing is ever due."""

    def reopen(self) -> None:
        """Nothing: they have no name by which to be opened."""

    def close(self) -> None:
        """Nothing: the streams are the process's."""
