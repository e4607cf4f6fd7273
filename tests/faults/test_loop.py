"""A router that is registered at itself, and routers in a row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fd_router._core import HOP_HEADER
from rig.memory import worker_pid

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Engine, Router

CONFIG = "manager: {health-check-interval-secs: 3600}"
REQUESTS = 50
SPARE = 8
"""Descriptors by which two looks at a process may differ."""


def open_files(router: Router) -> int:
    return len(list(Path(f"/proc/{worker_pid(router)}/fd").iterdir()))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_registered_at_itself(start_router: Callable[..., Router], stream: bool) -> None:
    router = start_router(CONFIG)
    assert router.register(router.port).status_code == 200
    assert router.chat("first", stream=stream).status_code == 508
    before = open_files(router)
    for _ in range(REQUESTS):
        answer = router.chat("round and round", stream=stream)
        assert answer.status_code == 508
        assert answer.headers["content-type"].startswith("application/json")
        assert "itself" in json.loads(answer.content)["error"]
    router.assert_idle()
    assert open_files(router) <= before + SPARE
    # Each request came back once, and was not sent again.
    metrics = router.metrics()
    assert metrics.value("http_requests_total", endpoint="/v1/chat/completions") == 2 * (REQUESTS + 1)
    assert metrics.value("fd_router_rejected_requests_total", code="loop") == REQUESTS + 1
    assert router.stop() == 0
    # Only once it has ended, the log is complete.
    errors = [line.message for line in router.log_lines() if line.level == "ERROR"]
    assert len(errors) == REQUESTS + 1
    assert {error.split(":")[0] for error in errors} == {"[fd-router] loop"}


def test_a_chain_works_and_a_circle_does_not(
    start_router: Callable[..., Router], start_engine: Callable[..., Engine]
) -> None:
    front, back = start_router(CONFIG), start_router(CONFIG)
    engine = start_engine(back, register_secs=3600, token_secs=0.001)
    back.wait_workers(mixed=1)
    assert front.register(back.port).status_code == 200
    for stream in (False, True):
        answer = front.chat("through both", stream=stream)
        assert (answer.status_code, answer.headers["x-engine"]) == (200, engine.name)
    assert engine.stats()["finished"] == 2
    assert len(set(engine.seen()[0].header(HOP_HEADER.decode()))) == 2, "each router says that it was there"
    # The engine leaves, and the routers are left to each other.
    assert back.register(front.port).status_code == 200
    assert back.unregister(engine.port).status_code == 200
    answer = front.chat("round and round")
    assert answer.status_code == 508
    assert front.metrics().value("fd_router_rejected_requests_total", code="loop") == 1
    assert back.metrics().value("fd_router_rejected_requests_total", code="loop") == 0
