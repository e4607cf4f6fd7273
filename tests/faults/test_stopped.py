"""A router that was stopped, or whose clock jumps, blames nobody for the time in which it was not there."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig import reply, sse_head, wait_for
from rig.memory import worker_pid
from rig.router import chat_body

if TYPE_CHECKING:
    from rig import Engine, Peer, RawWorker, Router

StartRouter = Callable[..., "Router"]
StartWorker = Callable[..., "RawWorker"]

LIMIT = 1.0
STREAMS = 20
WHOLE = 10
LONG = "tell me of rivers and of the sea " * 64


@contextmanager
def stopped(router: Router, secs: float) -> Iterator[None]:
    """Its processes stand still for so long; what is done in here is done meanwhile."""
    start = time.monotonic()
    router.process.send_all(signal.SIGSTOP)
    state = Path(f"/proc/{worker_pid_of(router)}/stat")
    wait_for(lambda: state.read_text().rpartition(")")[2].split()[0] == "T", why="it does not stop")
    try:
        yield
        threading.Event().wait(start + secs - time.monotonic())
    finally:
        router.process.send_all(signal.SIGCONT)


def worker_pid_of(router: Router) -> int:
    """Without asking the router, which does not answer."""
    return int(Path(f"/proc/{router.process.pid}/task/{router.process.pid}/children").read_text().split()[0])


def no_verdict(router: Router) -> None:
    log = router.settled_log()
    for word in ("Removed unhealthy", "eject: ", "pressure: ", "retry: ", "forgotten", "scanner error"):
        assert word not in log, f"{word}\n{router.process.tail()}"
    assert router.metrics().value("fd_router_retries_total") == 0


def test_what_waits_in_the_sockets_is_read(start_router: StartRouter, raw_worker: StartWorker) -> None:
    router = start_router(
        f"upstream: {{first-byte-timeout-secs: {LIMIT}, idle-timeout-secs: {LIMIT}}}\n"
        f"manager: {{health-check-interval-secs: 0.2, health-check-timeout-secs: {LIMIT}}}"
    )
    # An engine goes on by itself while the router is stopped, and no earlier.
    goes_on = threading.Event()

    def answer(peer: Peer) -> bytes:
        stream = json.loads(peer.body).get("stream", False)
        if stream:
            peer.send(sse_head() + b"data: 1\n\n")
        assert goes_on.wait(20)
        peer.done = stream
        return b"data: [DONE]\n\n" if stream else reply(b'"whole"')

    worker = raw_worker(answer)
    assert router.register(worker.port).status_code == 200
    with ExitStack() as stack:
        clients = [stack.enter_context(router.raw()) for _ in range(STREAMS + WHOLE)]
        for number, client in enumerate(clients):
            body = chat_body("x", stream=number < STREAMS)
            client.post("/v1/chat/completions", json.dumps(body).encode())
        for client in clients[:STREAMS]:
            client.read_until(b"data: 1\n\n")
        worker.wait_hits(STREAMS + WHOLE)
        with stopped(router, 4 * LIMIT):
            goes_on.set()
        for client in clients[:STREAMS]:
            assert b"error" not in client.read_until(b"[DONE]")
        for client in clients[STREAMS:]:
            assert client.read_until(b'"whole"').startswith(b"HTTP/1.1 200 ")
    assert len(worker.hits) == STREAMS + WHOLE, "a request was sent twice"
    probes = worker.probes
    wait_for(lambda: worker.probes > probes + 2, why="nobody is probed any more")
    no_verdict(router)


def test_nothing_grows_old_while_the_router_is_stopped(
    start_router: StartRouter, start_engine: Callable[..., Engine], raw_worker: StartWorker
) -> None:
    """Neither the prefix tree nor the memory of workers that are away."""
    router = start_router(
        "scheduler: {policy: cache_aware, eviction-duration-mins: 0.06}\n"
        "manager: {health-check-interval-secs: 0.2, forget-after-secs: 3.6}"
    )
    engine, lost = start_engine(), raw_worker(lambda _: reply(b"{}"))
    assert router.register(engine.port).status_code == 200
    assert router.register(lost.port).status_code == 200
    lost.health = 500
    router.wait_workers(mixed=1)
    assert router.chat(LONG, max_tokens=1).status_code == 200
    with stopped(router, 7.0):
        pass
    blocks = router.metrics().value("fd_router_tree_blocks")
    assert blocks > 0, "the tree was emptied"
    probes = lost.probes
    wait_for(lambda: lost.probes > probes + 1, why="the lost worker was forgotten")
    lost.health = 200
    router.wait_workers(mixed=2)
    # It was there, and its time goes on.
    wait_for(lambda: router.metrics().value("fd_router_tree_blocks") < blocks, why="blocks do not expire")
    assert "forgotten" not in router.settled_log()


JUMPING = Path(__file__).with_name("wall_clock.c")


@pytest.mark.skipif(shutil.which("cc") is None, reason="cc makes the clock")
def test_a_wall_clock_that_jumps_an_hour(
    start_router: StartRouter, raw_worker: StartWorker, tmp_path: Path
) -> None:
    clock = tmp_path / "wall_clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", clock, JUMPING, "-ldl"], check=True)
    router = start_router(
        "manager: {health-check-interval-secs: 0.05}\nscheduler: {policy: cache_aware}",
        env={"LD_PRELOAD": str(clock)},
    )
    worker = raw_worker(lambda _: reply(b"{}"))
    assert router.register(worker.port).status_code == 200
    for _ in range(20):
        assert router.chat(LONG).status_code == 200
    probes = worker.probes
    wait_for(lambda: worker.probes > probes + 5, why="nobody is probed any more")
    assert router.metrics().value("fd_router_tree_blocks") > 0
    router.settled_log()
    dates = [time.mktime(time.strptime(line.time, "%Y/%m/%d %H:%M:%S")) for line in router.log_lines()]
    assert max(dates) - min(dates) > 3600, "the clock did not jump"
    assert worker_pid(router)
    no_verdict(router)
