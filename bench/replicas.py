"""What sharing costs and survives: three routers, one Valkey, load on each.

    python bench/replicas.py [--seconds N] [--rate N] [--cpu-rate N] [--only ROW,...]

| row | what |
|---|---|
| idle | bytes a second that the server takes in and gives out, for each worker, of 64 idle ones |
| cpu | CPU of three routers for each request, sharing and not, on the same traffic in slices by turns; the ratio |
| killed | errors of clients of the two that are left, while one router is killed |
| restarted | errors of clients of all three, while the Valkey is killed and started again |
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from replay.fleet import Fleet, Model, get
from sidebyside import load, proc
from sidebyside.rows import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

IDLE = Model(engines=64)
FEW = Model(engines=8, hashed_secs=0.0, token_secs=0.0)
NONE = Model(engines=0)
ENGINES = 8
TRAFFIC = Row("replicas", "unary, 4 KiB request, 256 B answer", 4096, 256, 32)
TURNS = 28
"""Pairs of slices of the row cpu, short ones: what the machine does beside them is then the same in both of a pair."""
BODY = {"model": "mock", "max_tokens": 1}
PROMPT = "tell me of rivers and of the sea " * 20


class Load:
    """Clients in a loop with a rate, spread over the ports; `errors` counts what is not 200, by port."""

    def __init__(self, ports: Sequence[int], rate: float, clients: int = 16) -> None:
        self._ports, self._pause = ports, clients / rate
        self._over = threading.Event()
        self.answers = 0
        self.errors: dict[int, int] = dict.fromkeys(ports, 0)
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        port = self._ports[number % len(self._ports)]
        due, turn = time.monotonic(), 0
        while not self._over.is_set():
            turn += 1
            body = json.dumps({**BODY, "prompt": f"{number % 8} {PROMPT} {turn}"})
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                connection.request("POST", "/v1/completions", body, {"content-type": "application/json"})
                ok = connection.getresponse().status == 200
                connection.close()
            except (OSError, http.client.HTTPException):
                ok = False
            self.answers += 1
            self.errors[port] += not ok
            due += self._pause
            self._over.wait(max(0.0, due - time.monotonic()))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="of each row (10); the row cpu takes twice as long"
    )
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second, of all clients (300)")
    parser.add_argument("--cpu-rate", type=float, default=1000.0, help="the same of the row cpu (1000)")
    parser.add_argument("--only", default="idle,cpu,killed,restarted", help="rows (all)")
    args = parser.parse_args()
    rows: dict[str, Callable[[Path], str]] = {
        "idle": lambda folder: idle(folder, args.seconds),
        "cpu": lambda folder: cpu(folder, args.cpu_rate, args.seconds),
        "killed": lambda folder: killed(folder, args.rate, args.seconds),
        "restarted": lambda folder: restarted(folder, args.rate, args.seconds),
    }
    with tempfile.TemporaryDirectory(prefix="fd-router-replicas-") as name:
        for row in args.only.split(","):
            print(f"{row:9}  {rows[row](Path(name) / row)}", flush=True)
    return 0


def idle(folder: Path, secs: float) -> str:
    with Fleet(folder, "least_work", IDLE, 1.0, 3) as fleet:
        time.sleep(3.0)
        before = fleet.server_bytes()
        time.sleep(secs)
        each = (fleet.server_bytes() - before) / secs / IDLE.engines
        return f"{each:.0f} bytes a second for each worker"


def cpu(folder: Path, rate: float, secs: float) -> str:
    """The load tool is generator and engines, as mock engines do not reach such rates on two cores."""
    tool = load.build()
    (folder / "engines").mkdir(parents=True)
    engines = load.Engines(tool, folder / "engines", ENGINES)
    with (
        Fleet(folder / "sharing", "cache_aware_wide", NONE, 1.0, 3) as sharing,
        Fleet(folder / "alone", "cache_aware_wide", NONE, 1.0, 3, share=False) as alone,
    ):
        fleets = (sharing, alone)
        for fleet in fleets:
            for port in fleet.ports:
                for address in engines.addresses:
                    register(port, address)
        slices: list[list[float]] = []
        for turn in range(TURNS):
            # Each is first as often as second.
            pair = {
                number: microseconds(tool, fleets[number], rate / 3, secs / TURNS, turn)
                for number in ((0, 1), (1, 0))[turn % 2]
            }
            slices.append([pair[0][0], pair[1][0], pair[0][1]])
        left = [get(port, "/metrics") for port in sharing.ports]
    engines.child.stop()
    assert all("fd_router_cluster_sharing 1" in text for text in left)
    with_others, without, reached = (statistics.median(column) for column in zip(*slices, strict=True))
    ratios = sorted(one / other for one, other, _ in slices)
    return (
        f"{without:.0f} us a request alone, {with_others:.0f} us sharing, at {reached:.0f} a second:"
        f" {statistics.median(ratios):.3f}x (median of {TURNS}; {ratios[0]:.3f} to {ratios[-1]:.3f})"
    )


def register(port: int, address: str) -> None:
    host, _, at = address.rpartition(":")
    body = json.dumps({"role": "mixed", "host_ip": host, "port": int(at)})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/register", body, {"content-type": "application/json"})
    assert connection.getresponse().status == 200
    connection.close()


def microseconds(tool: str, fleet: Fleet, rate: float, secs: float, turn: int) -> tuple[float, float]:
    """CPU of all routers of a fleet for a request, each asked at a rate; and requests a second that were answered."""
    pids = [pid for router in fleet.routers for pid in proc.tree(router.pid)]
    with ThreadPoolExecutor(len(fleet.ports)) as pool:
        before, begun = sum(proc.cpu_ns(pids).values()), time.monotonic()
        runs = [
            pool.submit(load.client, tool, port, TRAFFIC, 10 * turn + number, ["--rate", str(rate)], secs)
            for number, port in enumerate(fleet.ports)
        ]
        tallies = [run.result() for run in runs]
        spent, took = sum(proc.cpu_ns(pids).values()) - before, time.monotonic() - begun
    assert not any(tally["errors"] for tally in tallies), tallies
    answers = sum(tally["requests"] for tally in tallies)
    return spent / 1e3 / answers, answers / took


def killed(folder: Path, rate: float, secs: float) -> str:
    with Fleet(folder, "least_work", FEW, 1.0, 3) as fleet:
        with Load(fleet.ports, rate) as load:
            time.sleep(secs / 3)
            fleet.routers[0].popen.kill()
            time.sleep(secs)
        left = {port: load.errors[port] for port in fleet.ports[1:]}
        known = [json.loads(get(port, "/registered_number"))["mixed"] for port in fleet.ports[1:]]
        return f"errors by router that is left {left}, workers known there {known}"


def restarted(folder: Path, rate: float, secs: float) -> str:
    with Fleet(folder, "least_work", FEW, 1.0, 3) as fleet:
        with Load(fleet.ports, rate) as load:
            time.sleep(secs / 3)
            fleet.restart_server(secs / 3)
            begun = time.monotonic()
            while not all(fleet.sharing()):
                time.sleep(0.02)
            healed = time.monotonic() - begun
            time.sleep(secs / 3)
        return f"{sum(load.errors.values())} errors of {load.answers} requests, shared again after {healed:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
