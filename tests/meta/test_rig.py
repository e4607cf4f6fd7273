"""The rig's own checks: a router that did not stay well fails its test, though it answers as if nothing had been."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import httpx
import pytest

from rig import Router, Stage, wait_for
from rig.memory import worker_pid

if TYPE_CHECKING:
    from pathlib import Path


def kill_worker(router: Router) -> None:
    """End the worker process as a crash does, and wait until another serves."""
    killed = worker_pid(router)
    os.kill(killed, signal.SIGKILL)

    def serves() -> bool:
        try:
            return router.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    wait_for(serves, why=router.process.tail)
    assert worker_pid(router) != killed


def test_a_new_worker_process_is_seen(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    router = stage.start_router()
    kill_worker(router)
    with pytest.raises(AssertionError, match=r"worker \d+ is gone"):
        stage.close()
    assert router.process.status == 0, "the router is stopped nevertheless"


def test_a_new_worker_process_is_let_pass_where_the_test_says_so(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    router = stage.start_router()
    router.check_worker = False
    kill_worker(router)
    stage.close()


def test_an_exit_status_other_than_0_is_seen(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.start_router().process.kill()
    with pytest.raises(AssertionError, match="ended with -9"):
        stage.close()
