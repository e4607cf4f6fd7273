"""Dated log files: `router-YYYY-MM-DD.log`, with `router.log` a relative link to the newest.

A line goes to the file of the date that stands in it. The day switches with the first line of a new date; for
`GRACE_SECS` after that, late lines of the day before still reach its file.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fd_router.observe.logs.retention import clean
from fd_router.observe.logs.sink import Outlet

if TYPE_CHECKING:
    from collections.abc import Callable

LINK = "router.log"
GRACE_SECS = 300.0
MIN_CLEANUP_SECS = 1.0
"""An interval of 0 means as often as is sensible."""


class DatedFiles:
    """A sink over a directory of dated files, cleaned up from time to time."""

    def __init__(
        self,
        directory: str,
        *,
        clock: Callable[[], float],
        max_age_days: int,
        max_total_bytes: int,
        cleanup_interval_secs: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = Path(directory)
        self._clock = clock
        self._monotonic = monotonic
        self._max_age_days = max_age_days
        self._max_total_bytes = max_total_bytes
        self._cleanup_secs = max(cleanup_interval_secs, MIN_CLEANUP_SECS)
        self._cleanup_due = float("inf") if cleanup_interval_secs < 0 else monotonic()
        self._today: DatedFile | None = None
        self._yesterday: DatedFile | None = None
        self._switched = 0.0

    def write(self, day: str, _errors: bool, data: bytes, lines: int) -> tuple[int, OSError | None]:
        """Write to the file of the lines' date."""
        return self._file(day).write(data, lines)

    def tend(self) -> None:
        """Close the file of yesterday and delete old ones when it is time."""
        self._close_late()
        self._clean_up()

    def reopen(self) -> None:
        """Close the files; each opens itself with its next line, and points the link at itself anew."""
        self.close()
        self._today = self._yesterday = None

    def close(self) -> None:
        """Close the files."""
        for file in (self._today, self._yesterday):
            if file is not None:
                file.close()

    def _file(self, day: str) -> DatedFile:
        if self._today is None:
            self._today = DatedFile(self._directory, day)
        elif day > self._today.day:
            if self._yesterday is not None:
                self._yesterday.close()
            self._yesterday = self._today
            self._today = DatedFile(self._directory, day)
            self._switched = self._monotonic()
        elif self._yesterday is not None and day == self._yesterday.day:
            return self._yesterday
        return self._today

    def _close_late(self) -> None:
        if self._yesterday is not None and self._monotonic() - self._switched > GRACE_SECS:
            self._yesterday.close()
            self._yesterday = None

    def _clean_up(self) -> None:
        now = self._monotonic()
        if now < self._cleanup_due:
            return
        self._cleanup_due = now + self._cleanup_secs
        today = time.strftime("%Y-%m-%d", time.localtime(self._clock()))
        clean(self._directory, today, self._max_age_days, self._max_total_bytes)


class DatedFile:
    """The file of one day. Opens itself, again if it was deleted or moved away, and points the link at itself."""

    def __init__(self, directory: Path, day: str) -> None:
        self.day = day
        self._path = directory / f"router-{day}.log"
        self._outlet: Outlet | None = None
        self._linked = False

    def write(self, data: bytes, lines: int) -> tuple[int, OSError | None]:
        """Append `lines` lines. Returns how many were lost, and why."""
        try:
            outlet = self._open()
        except OSError as error:
            return lines, error
        return outlet.write(data, lines)

    def _open(self) -> Outlet:
        if self._outlet is not None and self._is_current(self._outlet.fd):
            return self._outlet
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Lines matter more than the name `router.log`: where something is in its way, it is done without.
        with suppress(OSError):
            adopt(self._path)
        self._outlet = Outlet(
            os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        )
        with suppress(OSError):
            self._link()
        return self._outlet

    def _is_current(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _link(self) -> None:
        if self._linked:
            return
        fresh = self._path.parent / f".{LINK}.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self._path.name)
        fresh.replace(self._path.parent / LINK)
        self._linked = True

    def close(self) -> None:
        """Close the descriptor."""
        if self._outlet is not None:
            os.close(self._outlet.fd)
            self._outlet = None


def adopt(dated: Path) -> None:
    """Turn a regular `router.log`, as older versions of upstream leave it, into `dated`.

    Where that file exists the old lines are appended to it.
    """
    plain = dated.parent / LINK
    if plain.is_symlink() or not plain.is_file():
        return
    if not dated.exists():
        plain.rename(dated)
        return
    with plain.open("rb") as source, dated.open("ab") as target:
        shutil.copyfileobj(source, target)
    plain.unlink()
