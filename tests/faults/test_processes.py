"""The two processes of a router: each may die at any time, in any way."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import pytest

from rig import reply, wait_for
from rig.memory import worker_pid
from rig.process import gone

if TYPE_CHECKING:
    from pathlib import Path

    from rig import Engine, RawWorker, Router

StartRouter = Callable[..., "Router"]
StartEngine = Callable[..., "Engine"]

ENDLESS = b'{"prompt":"x","stream":true,"max_tokens":100000}'


def well(router: Router) -> bool:
    try:
        return router.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def kill_worker(router: Router, number: signal.Signals) -> int:
    """Kill the worker process and wait for another one. Returns the id of the dead one."""
    before = worker_pid(router)
    os.kill(before, number)
    wait_for(lambda: gone(before))
    wait_for(lambda: well(router) and worker_pid(router) != before, limit=60, why=router.process.tail)
    return before


@pytest.mark.parametrize(("number", "cause"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGSEGV, "SIGSEGV")])
def test_each_death_of_a_worker_process_is_told(
    start_router: StartRouter, number: signal.Signals, cause: str
) -> None:
    router = start_router()
    router.check_worker = False
    first, second = kill_worker(router, number), kill_worker(router, number)
    router.wait_log(
        rf"^\[ERROR\] \S+ \S+ logger\.go:\d+: \[fd-router\] process: worker process {first} was ended by {cause}, "
        r"another one starts at once$"
    )
    router.wait_log(rf"worker process {second} was ended by {cause}, another one starts in 0\.5 s$")
    assert router.settled_log().count("another one starts") == 2


def test_the_pause_ends_with_a_signal(start_router: StartRouter) -> None:
    router = start_router()
    router.check_worker = False
    for _ in range(3):
        kill_worker(router, signal.SIGKILL)
    pid = worker_pid(router)
    os.kill(pid, signal.SIGKILL)
    router.wait_log(r"another one starts in 2 s$")
    sent = time.monotonic()
    router.process.send(signal.SIGTERM)
    assert router.process.wait() == 0
    assert time.monotonic() - sent < 1.5


def test_no_worker_process_outlives_its_supervisor(
    start_router: StartRouter, start_engine: StartEngine
) -> None:
    router = start_router("server: {drain-timeout-secs: 60}")
    engine = start_engine(token_secs=0.02)
    assert router.register(engine.port).status_code == 200
    pid = worker_pid(router)
    router.ends_with = -signal.SIGKILL
    with router.raw() as client:
        client.post("/v1/completions", ENDLESS)
        client.read_until(b"data: ")
        noise = router.round_trip()
        sent = time.monotonic()
        router.process.send(signal.SIGKILL)
        wait_for(lambda: gone(pid), why="the worker process serves on")
        took = time.monotonic() - sent
        assert router.process.wait() == -signal.SIGKILL
        assert b"router is shutting down" in client.read_to_end()
    assert took < 1.0 + noise, took
    # The port is free: another one has it at once.
    again = start_router(f"server: {{port: {router.port}}}", port=router.port)
    assert well(again)
    engine.wait_stats(aborted=1)


@pytest.mark.parametrize("name", ["SIGUSR2", "SIGALRM"])
def test_signals_without_effect(start_router: StartRouter, name: str) -> None:
    router = start_router()
    router.process.send_all(signal.Signals[name])
    router.wait_log(rf"^\[INFO\] .* \[fd-router\] process: {name} has no effect$")
    assert well(router)
    router.assert_same_worker()


MANAGER = "{health-check-interval-secs: 0.1, forget-after-secs: 60}"


def test_registrations_survive_the_death_of_the_worker_process(
    start_router: StartRouter, raw_worker: Callable[..., RawWorker]
) -> None:
    """Twice within 5 s; nobody registers again. Who left stays away, who is not well is waited for."""
    router = start_router(f"manager: {MANAGER}")
    router.check_worker = False
    workers = [raw_worker(lambda _: reply(b"{}")) for _ in range(4)]
    for worker in workers:
        assert router.register(worker.port).status_code == 200
    assert router.unregister(workers[3].port).status_code == 200
    before = router.registered()
    settle(router)
    workers[2].health = 500
    router.wait_workers(mixed=2)
    for _ in range(2):
        kill_worker(router, signal.SIGKILL)
        router.wait_workers(mixed=2, limit=2)
        assert router.chat("at once").status_code == 200
    router.wait_log(rf"state: mixed {workers[2].url} was registered before, is not healthy")
    workers[2].health = 200
    router.wait_workers(mixed=3)
    assert router.registered() == before
    assert [worker.probes > 0 for worker in workers] == [True] * 4


def settle(router: Router) -> None:
    """Until what was registered has surely been kept: that is seen nowhere, and takes a tenth of a second."""
    time.sleep(0.3)
    assert well(router)


def test_registrations_survive_the_router_in_a_folder(
    start_router: StartRouter, raw_worker: Callable[..., RawWorker], tmp_path: Path
) -> None:
    """However it ends. The file is no other door: what could not register does not come back."""
    config = f"server: {{state-path: {tmp_path / 'state'}, drain-timeout-secs: 1}}\nmanager: {MANAGER}"
    worker, other = (raw_worker(lambda _: reply(b"{}")) for _ in range(2))
    router = start_router(config)
    assert router.register(worker.port, tp_size=2).status_code == 200
    before = router.registered()
    assert router.stop() == 0
    router = start_router(config)
    assert router.registered() == before
    assert router.chat("x").status_code == 200
    assert router.register(other.port).status_code == 200
    settle(router)
    pid = worker_pid(router)
    router.ends_with = -signal.SIGKILL
    router.process.send(signal.SIGKILL)
    wait_for(lambda: gone(pid))
    kept = tmp_path / "state" / "registrations.json"
    document = json.loads(kept.read_text())
    document["workers"].append({"role": "mixed", "host_ip": "example.org", "port": 1})
    kept.write_text(json.dumps(document))
    router = start_router(config)
    assert router.numbers()["mixed"] == 2
    router.wait_log("Failed to register instance: invalid InstanceInfo format:invalid host_ip: example.org")


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_file_that_cannot_be_read_is_told_and_replaced(
    start_router: StartRouter, raw_worker: Callable[..., RawWorker], tmp_path: Path, content: str
) -> None:
    kept = tmp_path / "registrations.json"
    kept.write_text(content)
    router = start_router(f"server: {{state-path: {tmp_path}}}")
    router.wait_log(r"^\[ERROR\] .* state: registrations that were kept cannot be read: \S")
    assert router.register(raw_worker(lambda _: reply(b"{}")).port).status_code == 200
    wait_for(lambda: '"mixed"' in kept.read_text())


def test_a_folder_that_cannot_be_written_harms_nobody(
    start_router: StartRouter, raw_worker: Callable[..., RawWorker], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    router = start_router(f"server: {{state-path: {tmp_path / 'file'}}}")
    assert router.register(raw_worker(lambda _: reply(b"{}")).port).status_code == 200
    router.wait_log(r"^\[ERROR\] .* state: registrations cannot be kept: \S")
    assert router.chat("x").status_code == 200


BROKEN = """
from fd_router.process.service import Service

def broken(*_):
    raise RuntimeError("no luck")

Service.__init__ = broken
"""


def test_a_start_that_fails_is_not_tried_again(start_router: StartRouter, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    with pytest.raises(AssertionError, match="ended with 1") as told:
        start_router(env={"PYTHONPATH": str(tmp_path)})
    assert str(told.value).count("Failed to start server: no luck") == 1
