"""Which log files are kept: by age, then by total size. Today's file is never deleted nor counted."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DATED = re.compile(r"router-(\d{4}-\d{2}-\d{2})\.log")


def clean(directory: Path, today: str, max_age_days: int, max_total_bytes: int) -> None:
    """Delete the files in `directory` that are not to be kept; one that cannot be deleted stays."""
    sizes: dict[str, int] = {}
    with suppress(OSError):
        for path in directory.iterdir():
            if _DATED.fullmatch(path.name) and not path.is_symlink():
                with suppress(OSError):
                    sizes[path.name] = path.stat().st_size
    for name in doomed(sizes, today, max_age_days, max_total_bytes):
        with suppress(OSError):
            (directory / name).unlink()


def doomed(sizes: Mapping[str, int], today: str, max_age_days: int, max_total_bytes: int) -> list[str]:
    """Names to delete out of `sizes` (file name to bytes), oldest first.

    Files dated more than `max_age_days` before `today` go; of the others, the oldest until the archives hold at
    most `max_total_bytes`.
    """
    now = date.fromisoformat(today)
    oldest = now - timedelta(days=min(max_age_days, now.toordinal() - 1))
    archives = sorted(name for name in sizes if name != f"router-{today}.log" and _DATED.fullmatch(name))
    total = sum(sizes[name] for name in archives)
    deleted: list[str] = []
    for name in archives:
        if name >= f"router-{oldest.isoformat()}.log" and total <= max_total_bytes:
            break
        deleted.append(name)
        total -= sizes[name]
    return deleted
