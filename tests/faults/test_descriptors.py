"""A router that is out of descriptors blames no engine, does not run in circles, and recovers by itself."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fd_router.process.descriptors import RESERVE, clients
from rig import RawClient, reply, wait_for
from rig.memory import worker_pid

if TYPE_CHECKING:
    from rig import RawWorker, Router

StartRouter = Callable[..., "Router"]
StartWorker = Callable[..., "RawWorker"]

FILES = 256
IDLE = 300
TAKEN = (FILES - RESERVE) // 2
MANAGER = "manager: {health-check-interval-secs: 0.1, eject-after-failures: 1}"
ASK = b'{"prompt":"x"}'


@pytest.mark.parametrize(
    ("wanted", "limit", "legs", "taken"),
    [
        (16_384, None, 1, 16_384),
        (16_384, 1 << 20, 2, 16_384),
        (16_384, 256, 1, 96),
        (16_384, 256, 2, 64),
        (9, 8, 1, 1),
    ],
)
def test_the_share_of_clients(wanted: int, limit: int | None, legs: int, taken: int) -> None:
    assert clients(wanted, limit, legs=legs) == taken


def cpu_secs(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_more_idle_clients_than_descriptors(start_router: StartRouter, raw_worker: StartWorker) -> None:
    router = start_router(MANAGER, files=FILES)
    router.wait_log(
        rf"^\[WARN\] .* limit: {FILES} descriptors \(ulimit -n\) allow {TAKEN} client connections, fewer than "
        r"server\.max-connections, 16384$"
    )
    gate = threading.Semaphore(0)
    worker = raw_worker(lambda _: (gate.acquire(timeout=20) and reply(b"{}")) or reply(b"", 500))
    assert router.register(worker.port).status_code == 200
    pid = worker_pid(router)
    taken = TAKEN - 1  # one is the test's own
    with ExitStack() as stack:
        idle = [stack.enter_context(RawClient("127.0.0.1", router.port)) for _ in range(IDLE)]
        wait_for(lambda: open_files(pid) >= taken, why="it takes no connections")
        # Everybody who was taken is served, all at once: there is a descriptor for each on the engine's side.
        for client in idle[:taken]:
            client.post("/v1/completions", ASK)
        worker.wait_hits(taken)
        probes, before, start = worker.probes, cpu_secs(pid), time.monotonic()
        wait_for(lambda: worker.probes >= probes + 5, why="nobody is probed")
        while time.monotonic() - start < 1.0:
            time.sleep(0.05)
        share = (cpu_secs(pid) - before) / (time.monotonic() - start)
        assert share < 0.3, f"{share:.0%} of a core for nothing"
        for _ in range(taken):
            gate.release()
        for client in idle[:taken]:
            assert client.read_until(b"{}").startswith(b"HTTP/1.1 200 ")
    left = time.monotonic()
    with RawClient("127.0.0.1", router.port) as client:
        gate.release()
        client.post("/v1/completions", ASK)
        assert client.read_until(b"{}").startswith(b"HTTP/1.1 200 ")
    assert time.monotonic() - left < 1.0
    log = router.log_text()
    assert "os error 24" not in log
    assert "Removed unhealthy" not in log
    assert "eject: " not in log


@contextmanager
def no_descriptor_left(pid: int) -> Iterator[None]:
    """As if others of the process had taken them all."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("splitwise", [False, True], ids=["mixed", "pairs"])
def test_no_descriptor_for_the_engine(
    start_router: StartRouter, raw_worker: StartWorker, splitwise: bool
) -> None:
    router = start_router(MANAGER, *(["--splitwise"] if splitwise else []))
    workers = {}
    for role in ("prefill", "decode") if splitwise else ("mixed",):
        workers[role] = raw_worker(lambda _: reply(b"{}", 200, "connection: close"))
        ports = {"connector_port": 1, "engine_worker_queue_port": 2} if splitwise else {}
        assert router.register(workers[role].port, role=role, **ports).status_code == 200
    assert router.chat("x").status_code == 200
    for worker in workers.values():
        worker.wait_hits(1)
    hits = {role: len(worker.hits) for role, worker in workers.items()}
    with no_descriptor_left(worker_pid(router)):
        for _ in range(10):
            answer = router.chat("x")
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert "no descriptor or port left" in answer.json()["error"]
        # Several rounds of probes have the same trouble.
        wait_for(lambda: router.log_text().count("failed to send request to ") >= 6, why=router.log_text)
        assert {role: len(worker.hits) for role, worker in workers.items()} == hits
    back = time.monotonic()
    assert router.chat("x").status_code == 200
    assert time.monotonic() - back < 1.0
    assert router.numbers().items() >= dict.fromkeys(workers, 1).items()
    metrics = router.metrics()
    assert metrics.value("fd_router_upstream_errors_total", kind="exhausted") >= 10
    assert metrics.value("fd_router_ejections_total") == 0
    assert "Removed unhealthy" not in router.log_text()
