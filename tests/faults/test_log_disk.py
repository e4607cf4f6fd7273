"""A disk under the log that takes nothing: traffic goes on, lost lines are counted, and the log comes back by itself.

In a mount namespace of the router's own, where its `logs/` is a small file system.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig import reply, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import RawWorker, Router

    StartRouter = Callable[..., Router]
    MakeWorker = Callable[..., RawWorker]

UNSHARE = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
MOUNT = "mkdir -p logs && mount -t tmpfs -o size=512k none logs"
CONFIG = "log: {output: file}\nmanager: {health-check-interval-secs: 3600}"
REQUESTS = 100


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        [*UNSHARE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
    )
    return tried.returncode == 0


pytestmark = pytest.mark.skipif(not can_mount(), reason="file systems cannot be mounted here")


def within(*commands: str) -> list[str]:
    return [*UNSHARE, "bash", "-c", " && ".join([*commands, 'exec "$@"']), "-"]


def folder(router: Router) -> Path:
    """The router's `logs/`, as it sees it."""
    return Path(f"/proc/{router.process.pid}/cwd/logs")


def remount(router: Router, how: str) -> None:
    """In the router's namespace."""
    pid = router.process.pid
    user = [] if os.geteuid() == 0 else ["-U", "--preserve-credentials"]
    path = os.readlink(f"/proc/{pid}/cwd") + "/logs"
    subprocess.run(
        ["nsenter", *user, "-m", "-t", str(pid), "mount", "-o", f"remount,{how}", path], check=True
    )


def test_full(start_router: StartRouter, raw_worker: MakeWorker) -> None:
    router = start_router(CONFIG, within=within(MOUNT))
    worker = raw_worker(lambda _: reply(b"{}"))
    assert router.register(worker.port).status_code == 200
    wait_for(lambda: "register: " in written(router))
    filler = folder(router) / "filler"
    with pytest.raises(OSError, match="No space left"):
        fill(filler)
    loses_lines_and_nothing_else(router)
    filler.unlink()
    is_mended(router)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4_096))


def test_read_only(start_router: StartRouter, raw_worker: MakeWorker) -> None:
    router = start_router(CONFIG, within=within(MOUNT, "mount -o remount,ro logs"))
    worker = raw_worker(lambda _: reply(b"{}"))
    assert router.register(worker.port).status_code == 200
    with pytest.raises(OSError, match="Read-only file system"):
        (folder(router) / "probe").touch()
    loses_lines_and_nothing_else(router)
    remount(router, "rw")
    is_mended(router)


def loses_lines_and_nothing_else(router: Router) -> None:
    before = lost(router)
    assert {router.chat("x").status_code for _ in range(REQUESTS)} == {200}
    wait_for(lambda: lost(router) >= before + REQUESTS, why="no line is lost")
    told = router.process.output()
    assert told.count("log lines are lost until this is mended") == 1, told


def is_mended(router: Router) -> None:
    wait_for(lambda: router.chat("x").status_code == 200 and "completions HTTP/1.1 200" in written(router))
    settled = lost(router)
    before = written(router).count("completions HTTP/1.1 200")
    for _ in range(REQUESTS):
        assert router.chat("x").status_code == 200
    wait_for(lambda: written(router).count("completions HTTP/1.1 200") >= before + REQUESTS)
    assert lost(router) == settled


def lost(router: Router) -> float:
    return router.metrics().value("fd_router_log_lines_lost_total")


def written(router: Router) -> str:
    log = folder(router) / "router.log"
    return log.read_text() if log.exists() else ""
