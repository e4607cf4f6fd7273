"""What sharing costs and survives: three routers, one Valkey, load on each.

    python bench/replicas.py [--seconds N] [--rate N]

| row | what |
|---|---|
| idle | bytes a second that the server takes in and gives out, for each worker, of 64 idle ones |
| cpu | CPU of a router for each request, with two others beside it and without, in one run; the ratio |
| killed | errors of clients of the two that are left, while one router is killed |
| restarted | errors of clients of all three, while the Valkey is killed and started again |
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from replay.fleet import Fleet, Model, get
from sidebyside import proc

if TYPE_CHECKING:
    from collections.abc import Sequence

IDLE = Model(engines=64)
FEW = Model(engines=8, hashed_secs=0.0, token_secs=0.0)
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
    parser.add_argument("--seconds", type=float, default=10.0, help="of each row (10)")
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second, of all clients (300)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fd-router-replicas-") as name:
        folder = Path(name)
        print(f"idle       {idle(folder / 'idle', args.seconds):.0f} bytes a second for each worker")
        alone = cpu(folder / "alone", 1, args.rate, args.seconds)
        three = cpu(folder / "three", 3, args.rate, args.seconds)
        print(
            f"cpu        {alone:.0f} us a request alone, {three:.0f} us with two others: {three / alone:.3f}x"
        )
        print(f"killed     {killed(folder / 'killed', args.rate, args.seconds)}")
        print(f"restarted  {restarted(folder / 'restarted', args.rate, args.seconds)}")
    return 0


def idle(folder: Path, secs: float) -> float:
    with Fleet(folder, "least_work", IDLE, 1.0, 3) as fleet:
        time.sleep(3.0)
        before = fleet.server_bytes()
        time.sleep(secs)
        return (fleet.server_bytes() - before) / secs / IDLE.engines


def cpu(folder: Path, replicas: int, rate: float, secs: float) -> float:
    """Microseconds a request, of the first router, at which all load is."""
    with Fleet(folder, "least_work", FEW, 1.0, replicas) as fleet, Load(fleet.ports[:1], rate) as load:
        time.sleep(2.0)
        pids = proc.tree(fleet.routers[0].pid)
        answers, before = load.answers, sum(proc.cpu_ns(pids).values())
        time.sleep(secs)
        spent = sum(proc.cpu_ns(pids).values()) - before
        return spent / 1e3 / (load.answers - answers)


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
