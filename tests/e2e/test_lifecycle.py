"""Starting, draining, ending and coming back, as an operator and a supervisor of processes see it."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from rig import reply, wait_for
from rig.memory import worker_pid
from rig.router import chat_body, listens
from rig.sse import Events

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Engine, RawWorker, Router, Stage

    StartRouter = Callable[..., Router]
    StartEngine = Callable[..., Engine]

STREAMS = 10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_running_requests_finish(
    start_router: StartRouter, start_engine: StartEngine, number: signal.Signals
) -> None:
    router = start_router("server: {drain-timeout-secs: 20}")
    engine = start_engine(token_secs=0.03)
    assert router.register(engine.port).status_code == 200
    with ThreadPoolExecutor(2 * STREAMS) as clients:
        asked = [
            clients.submit(
                router.post,
                "/v1/chat/completions",
                chat_body("x", stream=stream, max_tokens=40),
                headers={"connection": "close"},
            )
            for stream in (False, True)
            for _ in range(STREAMS)
        ]
        engine.wait_stats(running=2 * STREAMS)
        router.process.send(number)
        answers = [future.result() for future in asked]
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.json()["usage"]["completion_tokens"] == 40 for answer in answers[:STREAMS])
    assert all(Events.parse(answer.content).finished for answer in answers[STREAMS:])
    assert router.process.wait() == 0
    assert not listens(router.port)
    stats = engine.stats()
    assert (stats["finished"], stats["aborted"]) == (2 * STREAMS, 0)


def test_no_new_requests_while_draining(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router("server: {drain-timeout-secs: 20}")
    engine = start_engine(token_secs=0.05)
    assert router.register(engine.port).status_code == 200
    with ThreadPoolExecutor(1) as clients:
        asked = clients.submit(router.chat, "x", stream=True, max_tokens=60)
        engine.wait_stats(running=1)
        router.process.send(signal.SIGTERM)
        wait_for(lambda: not listens(router.port), why="new connections are still taken")
        assert not succeeds(router, "/ready")
        assert engine.stats()["running"] == 1, "the stream was over before the port was closed"
        assert Events.parse(asked.result().content).finished
    assert router.process.wait() == 0


def test_a_second_router_on_the_port_says_so(start_router: StartRouter, stage: Stage) -> None:
    router = start_router()
    second = stage.run_router("--port", str(router.port))
    assert second.returncode == 1
    assert f":{router.port}: " in second.stderr
    assert "in use" in second.stderr
    for _ in range(10):
        assert router.get("/registered_number").status_code == 200


def test_a_killed_worker_process_comes_back(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router()
    router.check_worker = False
    engine = start_engine(router)
    router.wait_workers(mixed=1)
    before = worker_pid(router)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: succeeds(router, "/health"), limit=60, why=router.process.tail)
    router.wait_workers(mixed=1)
    assert worker_pid(router) != before
    assert router.chat("again").headers["x-engine"] == engine.name


def succeeds(router: Router, path: str) -> bool:
    """On a kept connection where there is one."""
    try:
        return router.get(path).status_code == 200
    except httpx.TransportError:
        return False


def test_nothing_is_left_after_the_end(
    start_router: StartRouter, raw_worker: Callable[..., RawWorker]
) -> None:
    router = start_router()
    worker = raw_worker(lambda _: reply(b"{}"))
    assert router.register(worker.port).status_code == 200
    assert router.chat("x").status_code == 200
    pid = worker_pid(router)
    assert router.stop() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    wait_for(lambda: worker.open_connections() == 0, why="a connection outlived the router")
    assert not listens(router.port)
