"""A router and its engines, started for one run."""

from __future__ import annotations

import json
import re
import sys
import time
import urllib.request
from contextlib import ExitStack
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


class Fleet:
    """`with Fleet(folder, policy, model, speed) as fleet:` a fresh router and cold engines."""

    def __init__(self, folder: Path, policy: str, model: Model, speed: float) -> None:
        (self.port,) = free_ports(1)
        self._model, self._speed, self._folder = model, speed, folder
        self._policy = policy
        self._children = ExitStack()

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
        """Tokens by the router's counters: prompt, predicted_cached, cached, overpredicted."""
        return {name: float(value) for name, value in COUNTED.findall(self._get("/metrics"))}

    def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "config.yaml"
        server = {"host": "127.0.0.1", "port": self.port}
        settings = {"server": server, "scheduler": {"policy": self._policy}, "log": {"level": "warn"}}
        config.write_text(yaml.safe_dump(settings))
        router = self._child([str(PROGRAM), "--config_path", str(config)], "router")
        self._wait(router, 0)
        flags = [f"--{name}={value}" for name, value in self._model.flags(self._speed).items()]
        engine = [sys.executable, "-m", "fd_router.mock_engine", "--router", f"127.0.0.1:{self.port}", *flags]
        for number in range(self._model.engines):
            self._child(engine, f"engine-{number}")
        self._wait(router, self._model.engines)

    def _child(self, command: list[str], name: str) -> Child:
        child = Child(command, self._folder / name)
        self._children.callback(child.stop)
        return child

    def _wait(self, router: Child, engines: int) -> None:
        """Until so many engines are registered. Raises `UnavailableError`, or `TimeoutError`."""
        limit = time.monotonic() + READY_LIMIT
        while time.monotonic() < limit:
            router.check()
            try:
                if json.loads(self._get("/registered_number"))["mixed"] == engines:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise TimeoutError(f"no {engines} engines within {READY_LIMIT:.0f} s: {router.last_words()}")

    def _get(self, path: str) -> str:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            text: str = answer.read().decode()
        return text
