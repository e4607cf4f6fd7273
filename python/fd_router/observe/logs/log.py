"""The log as the rest of the router sees it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fd_router._core import Journal
from fd_router.errors import printable
from fd_router.observe.logs.lasting import Lasting
from fd_router.observe.logs.line import describe_json, describe_text, tags
from fd_router.observe.logs.rotation import DatedFiles
from fd_router.observe.logs.sink import Sink, Streams
from fd_router.observe.logs.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router.config import LogConfig

SHOWN = {"debug": 0, "info": 1, "warn": 2, "error": 3}
"""Configured level to the first of `LEVELS` that is written; any other word writes errors only, as upstream."""


class Log:
    """Writes lines of a level and above to the standard streams, or to dated files (`output` is `file`).

    A call costs a fraction of a microsecond, never blocks and never raises: what cannot be written is counted in
    `lost_lines`. Test `debug_enabled` before building a costly message. Make the log in the
    process that uses it: its thread starts with it (a forked child starts its own, with an empty queue).
    """

    def __init__(
        self, settings: LogConfig, *, directory: str = "logs", clock: Callable[[], float] | None = None
    ) -> None:
        """`directory` is where files are; `clock` gives seconds since the epoch, the system's by default."""
        to_files = settings.output == "file"
        sink: Sink = Streams()
        if to_files:
            sink = DatedFiles(
                directory,
                clock=clock or time.time,
                max_age_days=settings.max_age_days,
                max_total_bytes=settings.max_total_size_mb * 1024 * 1024,
                cleanup_interval_secs=settings.cleanup_interval_secs,
            )
        self.has_facts = as_json = settings.format == "json"
        """Whether lines have facts beside their message."""
        self.journal = journal = Journal(
            level=SHOWN.get(settings.level, 3),
            json=as_json,
            errors_apart=not to_files,
            describe=describe_json if as_json else describe_text,
            escape=printable,
            clock=clock,
        )
        # Without a Python frame in between: some seven lines a request pass here.
        self.debug, self.info, self.warn, self.error = (
            journal.debug,
            journal.info,
            journal.warn,
            journal.error,
        )
        self.stamped = journal.stamped
        self.lasting = Lasting(journal.info)
        """What tells of conditions that last."""
        self.set_level(settings.level)
        self._writer = Writer(journal, sink)

    def request_tags(
        self,
        request_id: str,
        sent_id: str | None,
        *,
        trace_id: str | None = None,
        req_id: str | None = None,
        session_id: str | None = None,
    ) -> str:
        """What stands before the lines of a request: ids that its client sent; in JSON also one that was made."""
        return tags(trace_id, req_id, session_id, request_id if self.has_facts else sent_id)

    def set_level(self, level: str) -> None:
        """From now on write lines of another level and above."""
        shown = SHOWN.get(level, 3)
        self.debug_enabled = shown == 0
        self.journal.set_level(shown)

    def reopen(self) -> None:
        """Have files closed, and opened anew by their names: no line from now on goes to a file that was moved away."""
        self._writer.reopen()

    @property
    def lost_lines(self) -> int:
        """Lines that were not written: the queue was full, or the disk refused them."""
        return self._writer.lost

    def close(self, timeout_secs: float = 5.0) -> None:
        """Write what is queued, for at most `timeout_secs`; later lines are lost. Idempotent."""
        self._writer.close(timeout_secs)
