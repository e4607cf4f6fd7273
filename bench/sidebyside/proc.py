"""CPU time and memory of a process and all its descendants, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def parse_stat(text: str) -> tuple[int, float]:
    """Read (parent pid, user + system CPU seconds) from one line of /proc/PID/stat.

    The command's name stands in parentheses and may itself hold spaces and parentheses.
    """
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS


def tree(pid: int, proc: Path = Path("/proc")) -> list[int]:
    """`pid` and every living descendant."""
    children: dict[int, list[int]] = {}
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                parent, _ = parse_stat((entry / "stat").read_text())
            except (OSError, ValueError):  # it ended while we looked
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        current = todo.pop()
        found.append(current)
        todo.extend(children.get(current, ()))
    return found


def cpu_seconds(pids: list[int], proc: Path = Path("/proc")) -> float:
    """User + system CPU of the processes, ended threads included."""
    total = 0.0
    for pid in pids:
        try:
            total += parse_stat((proc / str(pid) / "stat").read_text())[1]
        except (OSError, ValueError):
            continue
    return total


def main_thread_seconds(pids: list[int], proc: Path = Path("/proc")) -> float:
    """User + system CPU of the processes' main threads."""
    total = 0.0
    for pid in pids:
        try:
            total += parse_stat((proc / str(pid) / "task" / str(pid) / "stat").read_text())[1]
        except (OSError, ValueError):
            continue
    return total


def rss_bytes(pids: list[int], proc: Path = Path("/proc")) -> int:
    """Resident memory of the processes; pages that they share count once for each."""
    total = 0
    for pid in pids:
        try:
            total += int((proc / str(pid) / "statm").read_text().split()[1]) * PAGE
        except (OSError, ValueError):
            continue
    return total
