"""CPU of probing an idle fleet: what the router's worker process burns while nobody asks for anything.

    python bench/probes.py [--workers 2000] [--seconds 30] [--interval 5]

One loopback server is all engines, each at an address of its own (127.x.y.z). Printed: what a registration costs, and
the share of a core that the probes take at the default interval. The server is a process of its own, whose CPU does not
count. The registration's figure has the request, the probe and the answer in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

# Run as a program, this file's own folder is on the path instead of the one that holds `rig`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from rig import Stage, wait_for
from rig.memory import worker_pid

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
TICKS = os.sysconf("SC_CLK_TCK")
ASKING = 32


class Health(asyncio.Protocol):
    """Answers 200 to whatever comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n"):
            self._transport.write(ANSWER)


def serve(port: Connection) -> None:
    """Be every engine until the process is ended."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Health, "0.0.0.0", 0, backlog=4096)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def cpu_secs(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def host(number: int) -> str:
    """An address of loopback for each engine."""
    return f"127.{1 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"


async def register(router_port: int, engine_port: int, workers: int) -> None:
    """Register all, over some connections that are kept."""
    numbers = iter(range(workers))

    async def some() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", router_port)
        for number in numbers:
            body = json.dumps({"role": "mixed", "host_ip": host(number), "port": engine_port}).encode()
            head = f"POST /register HTTP/1.1\r\nhost: router\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"success")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            await reader.readuntil(b"}")
        writer.close()

    await asyncio.gather(*(some() for _ in range(ASKING)))


def main() -> None:
    """Measure, and print two lines."""
    parser = argparse.ArgumentParser(description="CPU of probing an idle fleet.")
    parser.add_argument("--workers", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--interval", type=float, default=5.0)
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    engine = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    engine.start()
    try:
        with tempfile.TemporaryDirectory(prefix="fd-router-probes-") as folder:
            stage = Stage(Path(folder))
            try:
                measure(stage, ours.recv(), options)
            finally:
                stage.close()
    finally:
        engine.terminate()
        engine.join()


def measure(stage: Stage, engine_port: int, options: argparse.Namespace) -> None:
    router = stage.start_router(f"manager: {{health-check-interval-secs: {options.interval}}}")
    pid, workers = worker_pid(router), options.workers
    idle = share(pid, 5.0)
    start = cpu_secs(pid)
    asyncio.run(register(router.port, engine_port, workers))
    each = (cpu_secs(pid) - start) / workers
    assert router.numbers()["mixed"] == workers
    print(f"registration: {each * 1e3:.3f} ms of CPU each, its probe included")

    def probes() -> float:
        return router.metrics().value("fd_router_probes_total", result="ok")

    # Whole rounds: from after one of them.
    first = probes()
    wait_for(lambda: probes() >= first + workers, limit=4 * options.interval)
    before, used = probes(), cpu_secs(pid)
    since = time.monotonic()
    time.sleep(max(1, round(options.seconds / options.interval)) * options.interval)
    took, used, made = time.monotonic() - since, cpu_secs(pid) - used, probes() - before
    assert router.numbers()["mixed"] == workers, "a worker was lost"
    print(
        f"probes: {workers} workers every {options.interval:g} s take {used / took:.1%} of a core "
        f"({idle:.1%} without workers), {(used / took - idle) * took / made * 1e3:.3f} ms each, {made:.0f} made"
    )


def share(pid: int, secs: float) -> float:
    """The share of a core that a process takes for so long."""
    used, since = cpu_secs(pid), time.monotonic()
    time.sleep(secs)
    return (cpu_secs(pid) - used) / (time.monotonic() - since)


if __name__ == "__main__":
    main()
