"""The Rust load tool: built once, run as stand-in engine and as load generator."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

from .environments import ROOT
from .process import Child, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from .rows import Row

ENGINE_LIMIT = 3 * 3600


def build() -> str:
    """Path of the built tool."""
    command = ["cargo", "build", "--release", "-p", "fd-router-load", "--message-format", "json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = (json.loads(line) for line in done.stdout.splitlines())
    return str(next(path for message in messages if (path := message.get("executable"))))


class Engines:
    """Stand-in engines: `count` ports served by one thread of one process."""

    def __init__(self, tool: str, folder: Path, count: int, *, prefill: bool = False) -> None:
        options = ["--engines", str(count), "--seconds", str(ENGINE_LIMIT), "--prefill", str(int(prefill))]
        self.child = Child([tool, "engine", *options], folder)
        self.addresses = tuple(f"127.0.0.1:{port}" for port in self._ports())

    def _ports(self) -> list[int]:
        limit = time.monotonic() + 10
        while time.monotonic() < limit:
            self.child.check()
            text = self.child.log.read_text()
            if text.endswith("\n"):
                ports: list[int] = json.loads(text)["ports"]
                return ports
            time.sleep(0.02)
        raise UnavailableError("the stand-in engine did not start within 10 s")


def client(tool: str, port: int, row: Row, seed: int, loop: list[str], seconds: float) -> dict[str, Any]:
    """One run of the load generator: its tally."""
    command = [
        *(tool, "client", "--target", f"127.0.0.1:{port}"),
        *("--body-bytes", str(row.body), "--max-tokens", str(row.plan)),
        *("--stream", str(int(row.stream)), "--seed", str(seed), "--seconds", str(seconds)),
        *loop,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120, check=False)
    if done.returncode != 0:
        raise UnavailableError(f"load generator: {done.stderr.strip()[:300]}")
    tally: dict[str, Any] = json.loads(done.stdout)
    return tally


def open_loop(row: Row) -> list[str]:
    return ["--rate", str(row.rate)]


def closed_loop(row: Row) -> list[str]:
    loop = ["--connections", str(row.connections), "--ramp-ms", str(row.ramp_ms)]
    return loop if row.each is None else [*loop, "--each", str(row.each)]
