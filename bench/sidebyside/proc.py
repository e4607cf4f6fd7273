"""CPU time and memory of a process and all its descendants.

Times are nanoseconds of the kernel's scheduler. Clock ticks (/proc/PID/stat) are 10 ms long: 50 us a request where a
slice has 200 of them.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
SCHED_CLOCK = 2
"""The kernel's number of the clock that a process's scheduled time is (CPUCLOCK_SCHED)."""


def parent_of(stat: str) -> int:
    """The parent's pid in one line of /proc/PID/stat.

    The command's name stands in parentheses and may itself hold spaces and parentheses.
    """
    return int(stat[stat.rindex(")") + 2 :].split()[1])


def tree(pid: int, proc: Path = Path("/proc")) -> list[int]:
    """`pid` and every living descendant."""
    children: dict[int, list[int]] = {}
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                parent = parent_of((entry / "stat").read_text())
            except (OSError, ValueError):  # it ended while we looked
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        current = todo.pop()
        found.append(current)
        todo.extend(children.get(current, ()))
    return found


def cpu_ns(pids: list[int]) -> dict[int, int]:
    """CPU nanoseconds of each process that lives.

    Read from its CPU clock (clock_getcpuclockid(3)): the sum over its /proc/PID/task/*/schedstat, and what threads ran
    that have ended since, whose files are gone. /proc/PID/schedstat is no such sum, but the main thread's.
    """
    found = {}
    for pid in pids:
        try:
            found[pid] = time.clock_gettime_ns((~pid << 3) | SCHED_CLOCK)
        except OSError:  # it ended while we looked
            continue
    return found


def main_thread_ns(pids: list[int], proc: Path = Path("/proc")) -> dict[int, int]:
    """CPU nanoseconds of each process's main thread."""
    found = {}
    for pid in pids:
        try:
            text = (proc / str(pid) / "task" / str(pid) / "schedstat").read_text()
        except OSError:
            continue
        found[pid] = int(text.split()[0])
    return found


def rss_bytes(pids: list[int], proc: Path = Path("/proc")) -> int:
    """Resident memory of the processes; pages that they share count once for each."""
    total = 0
    for pid in pids:
        try:
            total += int((proc / str(pid) / "statm").read_text().split()[1]) * PAGE
        except (OSError, ValueError):
            continue
    return total
