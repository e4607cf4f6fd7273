"""The log as the rest of the router sees it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from fd_router.logs.line import LEVELS, JsonLayout, Layout, Level, TextLayout
from fd_router.logs.rotation import DatedFiles
from fd_router.logs.sink import Sink, Streams
from fd_router.logs.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

SHOWN = {"debug": 0, "info": 1, "warn": 2, "error": 3}
"""Configured level to the first of `LEVELS` that is written; any other word writes errors only, as upstream."""


class Log:
    """Writes lines of a level and above to the standard streams, or to dated files (`output` is `file`).

    A call costs about a microsecond, never blocks and never raises: what cannot be written is counted in
    `lost_lines`. Test `debug_enabled` or `info_enabled` before building a costly message. Make the log in the
    process that uses it: its thread starts with it (a forked child starts its own, with an empty queue).
    """

    def __init__(
        self,
        level: str = "info",
        output: str = "",
        fmt: Literal["text", "json"] = "text",
        *,
        max_age_days: int = 7,
        max_total_size_mb: int = 500,
        cleanup_interval_secs: float = 3600.0,
        directory: str = "logs",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives seconds since the epoch. A negative `cleanup_interval_secs` keeps every file."""
        shown = SHOWN.get(level, 3)
        self.debug_enabled = shown == 0
        self.info_enabled = shown <= 1
        self._warn_enabled = shown <= 2
        self._clock = clock
        self._layout: Layout = JsonLayout() if fmt == "json" else TextLayout()
        self._second = 0
        self._turn(int(clock()))
        sink: Sink = Streams(self._layout)
        if output == "file":
            sink = DatedFiles(
                self._layout,
                directory,
                clock=clock,
                max_age_days=max_age_days,
                max_total_bytes=max_total_size_mb * 1024 * 1024,
                cleanup_interval_secs=cleanup_interval_secs,
            )
        self._writer = Writer(sink)

    @property
    def lost_lines(self) -> int:
        """Lines that were not written: the queue was full, or the disk refused them."""
        return self._writer.lost

    def debug(self, message: str, tags: str = "") -> None:
        """Write what only a developer of the router needs."""
        if self.debug_enabled:
            self._put("DEBUG", message, tags)

    def info(self, message: str, tags: str = "") -> None:
        """Write what happens when all is well."""
        if self.info_enabled:
            self._put("INFO", message, tags)

    def warn(self, message: str, tags: str = "") -> None:
        """Write what is odd, and was dealt with."""
        if self._warn_enabled:
            self._put("WARN", message, tags)

    def error(self, message: str, tags: str = "") -> None:
        """Write what somebody should look at."""
        self._put("ERROR", message, tags)

    def close(self, timeout_secs: float = 5.0) -> None:
        """Write what is queued, for at most `timeout_secs`; later lines are lost. Idempotent."""
        self._writer.close(timeout_secs)

    def _put(self, level: Level, message: str, tags: str) -> None:
        now = self._clock()
        if not self._second <= now < self._second + 1:
            self._turn(int(now))
        self._writer.put(self._layout.line(self._prefixes[level], tags, message))

    def _turn(self, second: int) -> None:
        self._prefixes = {level: self._layout.prefix(level, second) for level in LEVELS}
        self._second = second
