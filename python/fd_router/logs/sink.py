"""Where lines go: a sink routes them to outlets, and an outlet writes whole lines to a file descriptor."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fd_router.logs.line import Layout

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


class Destination(Protocol):
    """What `Outlet` and a file that opens itself have in common."""

    def write(self, data: bytes, lines: int) -> tuple[int, OSError | None]:
        """Write `lines` lines. Returns how many were lost, and why."""


class Sink(Protocol):
    """Decides which lines go where. Used by the writer's thread only."""

    def route(self, lines: list[str]) -> Iterable[tuple[Destination, list[str]]]:
        """Parts of `lines` and their destinations; called with no lines now and then."""

    def close(self) -> None:
        """Give descriptors back."""


class Streams:
    """ERROR lines to standard error, all others to standard output."""

    def __init__(self, layout: Layout, stdout: int = 1, stderr: int = 2) -> None:
        self._layout = layout
        self._stdout = Outlet(stdout)
        self._stderr = Outlet(stderr)

    def route(self, lines: list[str]) -> Iterable[tuple[Destination, list[str]]]:
        """Split by level."""
        is_error = self._layout.is_error
        errors = [line for line in lines if is_error(line)]
        if errors:
            yield self._stderr, errors
            lines = [line for line in lines if not is_error(line)]
        if lines:
            yield self._stdout, lines

    def close(self) -> None:
        """Nothing: the streams are the process's."""
