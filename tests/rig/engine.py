"""A running mock engine and its controls."""

from __future__ import annotations

import re
import signal
from base64 import b64decode
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from rig.wait import LIMIT, wait_for

if TYPE_CHECKING:
    from rig.process import Process

BANNER = re.compile(r"^mock engine (\S+) \((\w+)\) on (http://\S+) control (http://\S+)$", re.MULTILINE)


class Seen(NamedTuple):
    """One inference request as the engine received it."""

    target: str
    head: bytes
    body: bytes

    def header(self, name: str) -> list[str]:
        """The values of a header, in order."""
        pairs = [line.partition(b":") for line in self.head.split(b"\r\n")[1:]]
        wanted = name.lower().encode()
        return [value.strip().decode() for key, _, value in pairs if key.strip().lower() == wanted]


class Engine:
    """One mock engine process."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.name = ""
        self.role = ""
        self.url = ""
        self._control: httpx.Client | None = None

    def wait_ready(self, limit: float = 60.0) -> Engine:
        """Wait until it listens. Raises `AssertionError` with its output when it ends instead."""

        def listens() -> re.Match[str] | None:
            if self.process.status is not None:
                raise AssertionError(f"engine ended with {self.process.status}\n{self.process.tail()}")
            return BANNER.search(self.process.output())

        found = wait_for(listens, limit=limit, why="the mock engine does not listen")
        self.name, self.role, self.url, control = found.groups()
        self._control = httpx.Client(base_url=control, timeout=LIMIT, trust_env=False)
        return self

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def control(self) -> httpx.Client:
        """Reaches the engine whatever its faults."""
        assert self._control is not None, "wait_ready first"
        return self._control

    def fault(self, **faults: object) -> None:
        """Set faults; `--help` of the mock engine lists them."""
        answer = self.control.post("/mock/fault", json=faults)
        assert answer.status_code == 200, answer.text

    def heal(self) -> None:
        """Take all faults back."""
        assert self.control.delete("/mock/fault").status_code == 200

    def stats(self) -> dict[str, Any]:
        """`/mock/stats`: counts of requests by outcome, running, waiting, probes and more."""
        stats: dict[str, Any] = self.control.get("/mock/stats").json()
        return stats

    def wait_stats(self, *, limit: float = LIMIT, **wanted: int) -> dict[str, Any]:
        """Wait until the counts named are reached exactly."""
        return wait_for(
            lambda: stats if wanted.items() <= (stats := self.stats()).items() else None,
            limit=limit,
            why=lambda: f"{self.name} {wanted}, has { {key: self.stats()[key] for key in wanted} }",
        )

    def seen(self) -> list[Seen]:
        """The last inference requests, oldest first."""
        return [
            Seen(item["target"], b64decode(item["head"]), b64decode(item["body"]))
            for item in self.stats()["last"]
        ]

    def kill(self) -> None:
        """SIGKILL: no goodbye on any connection but the kernel's."""
        self.process.kill()

    def suspend(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        self.process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.process.send(signal.SIGCONT)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        if self._control is not None:
            self._control.close()
        return self.process.stop()
