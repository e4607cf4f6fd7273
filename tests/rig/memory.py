"""How much memory the router holds, read from the system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rig.router import Router


def worker_pid(router: Router) -> int:
    """The process that serves; its parent, the supervisor, is the one that was started."""
    supervisor = router.process.pid
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    assert len(children) == 1, f"worker processes of {supervisor}: {children}"
    return int(children[0])


def rss(pid: int) -> int:
    """Bytes that a process holds now."""
    return _status(pid, "VmRSS")


def peak_rss(pid: int) -> int:
    """The most bytes that a process has held."""
    return _status(pid, "VmHWM")


def _status(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) << 10
    raise AssertionError(f"no {key} of process {pid}")
