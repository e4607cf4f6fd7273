"""A router that is out of descriptors blames no engine, does not run in circles, and recovers by itself."""

from __future__ import annotations

import os
import resource
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from fd_router.config import ServerConfig
from fd_router.process.descriptors import ADMIN, RESERVE, SPARE, shares
from rig import RawClient, reply, wait_for
from rig.certificates import Authority
from rig.memory import worker_pid
from rig.router import free_port

if TYPE_CHECKING:
    from rig import RawWorker, Router

StartRouter = Callable[..., "Router"]
StartWorker = Callable[..., "RawWorker"]

FILES = 256
IDLE = 300
TAKEN = (FILES - RESERVE - SPARE) // 2
MANAGER = "manager: {health-check-interval-secs: 0.1, eject-after-failures: 1}"
ASK = b'{"prompt":"x"}'


@pytest.mark.parametrize(
    ("wanted", "limit", "server", "found"),
    [
        (16_384, None, {}, (16_384, ADMIN)),
        (16_384, 1 << 20, {"splitwise": True, "admin_port": 2}, (16_384, ADMIN)),
        (16_384, 256, {}, (80, 32)),
        (16_384, 256, {"admin_port": 2}, (64, 32)),
        (16_384, 256, {"splitwise": True}, (53, 32)),
        (9, 8, {}, (1, 1)),
    ],
)
def test_the_shares(wanted: int, limit: int | None, server: dict[str, Any], found: tuple[int, int]) -> None:
    legs = 2 if server.get("splitwise") else 1
    of = shares(ServerConfig(port=1, max_connections=wanted, **server), limit)
    assert of == found
    if limit is not None and limit > 2 * RESERVE:
        admin = of.admin if server.get("admin_port") else 0
        assert RESERVE + of.accepted + legs * of.clients + admin <= limit


def cpu_secs(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_more_idle_clients_than_descriptors(start_router: StartRouter, raw_worker: StartWorker) -> None:
    """Nobody waits for who says nothing: a client with a request is served, and so is a probe."""
    router = start_router(MANAGER, files=FILES)
    router.wait_log(
        rf"^\[WARN\] .* limit: {FILES} descriptors \(ulimit -n\) allow {TAKEN} client connections, fewer than "
        r"server\.max-connections, 16384$"
    )
    worker = raw_worker(lambda _: reply(b"{}"))
    assert router.register(worker.port).status_code == 200
    pid = worker_pid(router)
    with ExitStack() as stack:
        idle = [stack.enter_context(RawClient("127.0.0.1", router.port)) for _ in range(IDLE)]
        wait_for(lambda: waiting(router.port) == 0, why="somebody waits")
        assert len(idle) > open_files(pid) > TAKEN, "the router is not full"
        for _ in range(3):
            began = time.monotonic()
            with RawClient("127.0.0.1", router.port) as client:
                client.post("/v1/completions", ASK)
                assert client.read_until(b"{}").startswith(b"HTTP/1.1 200 ")
            assert time.monotonic() - began < 1.0
        share = idle_share(router, worker)
        assert share < 0.3, f"{share:.0%} of a core for nothing"
    left = time.monotonic()
    assert router.chat("x").status_code == 200
    assert time.monotonic() - left < 1.0
    router.wait_log(
        r"limit: \d+ client connections \(server\.max-connections, ulimit -n\), \d+ idle ones closed to make room$"
    )
    assert router.metrics().value("fd_router_idle_clients_closed_total") >= IDLE - TAKEN - SPARE
    nobody_is_blamed(router)


def test_more_requests_than_descriptors(start_router: StartRouter, raw_worker: StartWorker) -> None:
    """As many as are taken are served, all at once: there is a descriptor for each on the engine's side. The others
    are told so at once, and that they had better go; then all is as before."""
    router = start_router(MANAGER, files=FILES)
    gate = threading.Semaphore(0)
    worker = raw_worker(lambda _: (gate.acquire(timeout=20) and reply(b"{}")) or reply(b"", 500))
    assert router.register(worker.port).status_code == 200
    with ExitStack() as stack:
        busy = [stack.enter_context(RawClient("127.0.0.1", router.port)) for _ in range(TAKEN)]
        for client in busy:
            client.post("/v1/completions", ASK)
        worker.wait_hits(TAKEN)
        late = [stack.enter_context(RawClient("127.0.0.1", router.port)) for _ in range(IDLE)]
        for client in late:
            client.post("/v1/completions", ASK)
        for client in late:
            is_turned_away(client)
        began = time.monotonic()
        with RawClient("127.0.0.1", router.port) as one:
            one.post("/v1/completions", ASK)
            is_turned_away(one)
        assert time.monotonic() - began < 1.0
        assert router.get("/ready").status_code == 200
        share = idle_share(router, worker)
        assert share < 0.3, f"{share:.0%} of a core for nothing"
        for _ in busy:
            gate.release()
        for client in busy:
            assert client.read_until(b"{}").startswith(b"HTTP/1.1 200 ")
        gate.release()
        again = time.monotonic()
        busy[0].received = b""
        busy[0].post("/v1/completions", ASK)
        assert busy[0].read_until(b"{}").startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - again < 1.0
    assert len(worker.hits) == TAKEN + 1
    router.wait_log(
        rf"\[WARN\].* limit: {TAKEN} client connections with a request \(server\.max-connections, ulimit"
    )
    nobody_is_blamed(router)


def test_idle_clients_of_the_port_for_control(start_router: StartRouter, raw_worker: StartWorker) -> None:
    """They have a share of their own, and give way as well."""
    control = free_port()
    router = start_router(f"server: {{admin-port: {control}}}\n{MANAGER}", files=FILES, control=control)
    worker = raw_worker(lambda _: reply(b"{}"))
    assert router.register(worker.port).status_code == 200
    pid = worker_pid(router)
    with ExitStack() as stack:
        for port in (control, router.port):
            for _ in range(IDLE):
                stack.enter_context(RawClient("127.0.0.1", port))
        wait_for(lambda: waiting(control) == waiting(router.port) == 0, why="somebody waits")
        assert open_files(pid) < FILES - 16
        began = time.monotonic()
        with RawClient("127.0.0.1", control) as client:
            client.send(b"GET /registered_number HTTP/1.1\r\nhost: a\r\n\r\n")
            assert client.read_until(b"}").startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - began < 1.0
        share = idle_share(router, worker)
        assert share < 0.3, f"{share:.0%} of a core for nothing"
    router.wait_log(r"limit: \d+ connections of server\.admin-port \(ulimit -n\), \d+ idle ones closed")
    nobody_is_blamed(router)


def test_kept_connections_give_way(start_router: StartRouter, raw_worker: StartWorker) -> None:
    """Of an engine that is not needed any more, to another that needs as many."""
    router = start_router(f"upstream: {{keep-alive-secs: 60}}\n{MANAGER}", files=FILES)
    pid = worker_pid(router)
    for number in range(2):
        gate = threading.Semaphore(0)
        worker = raw_worker(
            lambda _, gate=gate: (gate.acquire(timeout=20) and reply(b"{}")) or reply(b"", 500)
        )
        assert router.register(worker.port).status_code == 200
        kept = router.metrics().value("fd_router_upstream_idle_connections")
        with ExitStack() as stack:
            busy = [stack.enter_context(RawClient("127.0.0.1", router.port)) for _ in range(TAKEN)]
            if number:
                wait_for(lambda: open_files(pid) + TAKEN > FILES, why="there are descriptors enough")
                assert kept == TAKEN
            for client in busy:
                client.post("/v1/completions", ASK)
            worker.wait_hits(TAKEN)
            for _ in busy:
                gate.release()
            for client in busy:
                assert client.read_until(b"{}").startswith(b"HTTP/1.1 200 ")
        wait_for(lambda: open_files(pid) < FILES - TAKEN, why="clients are held on to")
        assert router.unregister(worker.port).status_code == 200
    nobody_is_blamed(router)


def is_turned_away(client: RawClient) -> None:
    head, _, body = client.read_to_end().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert {b"connection: close", b"retry-after: 1"} <= set(head.lower().split(b"\r\n"))
    assert b"server.max-connections, ulimit -n" in body


def https(start_router: StartRouter, folder: Path) -> Router:
    authority = Authority(folder / "authority")
    pair = authority.issue("router")
    server = f"server: {{tls-cert: {pair.cert}, tls-key: {pair.key}}}"
    return start_router(f"{server}\n{MANAGER}", files=FILES, tls=authority.client())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
def test_handshakes_that_nobody_finishes(start_router: StartRouter, tmp_path: Path) -> None:
    """One after another, they go before descriptors run out."""
    router = https(start_router, tmp_path)
    pid = worker_pid(router)
    with ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(RawClient("127.0.0.1", router.port))
            # All at once they would be more than there is room for; that is another test.
            wait_for(lambda: waiting(router.port) == 0, why="it is not accepted")
            wait_for(lambda: open_files(pid) < FILES - 32, why="nobody makes room")
        assert router.chat("x").status_code == 502, "there is no worker, and a router that says so"
        # Nobody waits at such a listener: it was short of descriptors.
        closed = "fd_router_idle_clients_closed_total"
        wait_for(lambda: router.metrics().value(closed) > 0, why="nobody makes room")
    assert waiting(router.port) == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
def test_a_burst_of_handshakes_that_nobody_finishes(
    start_router: StartRouter, raw_worker: StartWorker, tmp_path: Path
) -> None:
    """More at once than there are descriptors: another process serves, which knows its workers."""
    router = https(start_router, tmp_path)
    router.check_worker = False
    worker = raw_worker(lambda _: reply(b"{}"))
    assert router.register(worker.port).status_code == 200
    pid = worker_pid(router)
    with ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(RawClient("127.0.0.1", router.port))
        router.wait_log(
            rf"process: {FILES} descriptors \(ulimit -n\) are taken, by unfinished TLS handshakes"
        )
        router.wait_log(rf"process: worker process {pid} ended with exit status 1")
        wait_for(lambda: serves(router), limit=5.0, why=router.log_text)


def serves(router: Router) -> bool:
    try:
        return router.chat("x").status_code == 200
    except httpx.TransportError:
        return False


def idle_share(router: Router, worker: RawWorker) -> float:
    """Of a core, in a second in which the worker is probed as ever."""
    pid = worker_pid(router)
    probes, before, start = worker.probes, cpu_secs(pid), time.monotonic()
    wait_for(lambda: worker.probes >= probes + 5 and time.monotonic() - start > 1, why="nobody is probed")
    return (cpu_secs(pid) - before) / (time.monotonic() - start)


def nobody_is_blamed(router: Router) -> None:
    log = router.settled_log()
    assert "os error 24" not in log
    assert "Removed unhealthy" not in log
    assert "eject: " not in log


def waiting(port: int) -> int:
    """Connections to the port that nobody has accepted, of which the kernel tells."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[3] == "0A":
            return int(fields[4].partition(":")[2], 16)
    raise AssertionError(f"nobody listens on {port}")


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
        failed = router.metrics().value("fd_router_probes_total", result="failed")
        wait_for(lambda: router.metrics().value("fd_router_probes_total", result="failed") >= failed + 6)
        # It is one condition of each worker's, and told of once.
        assert router.settled_log().count("failed to send request to ") == len(workers)
        assert {role: len(worker.hits) for role, worker in workers.items()} == hits
    back = time.monotonic()
    assert router.chat("x").status_code == 200
    assert time.monotonic() - back < 1.0
    assert router.numbers().items() >= dict.fromkeys(workers, 1).items()
    metrics = router.metrics()
    assert metrics.value("fd_router_upstream_errors_total", kind="exhausted") >= 10
    assert metrics.value("fd_router_ejections_total") == 0
    assert "Removed unhealthy" not in router.settled_log()
