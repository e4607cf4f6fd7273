"""A router under measurement: started, waited for, measured, stopped."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import proc
from .process import Child, UnavailableError, free_ports
from .routers import Place, Router

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

READY_LIMIT = 90.0
IN_A_ROW = 20
"""Good answers that count as ready: a router that knows only some engines still refuses now and then."""


class Running:
    """A started router. CPU is counted over its whole process tree."""

    def __init__(
        self, router: Router, folder: Path, mixed: tuple[str, ...], prefill: tuple[str, ...]
    ) -> None:
        port, metrics_port = free_ports(2)
        folder.mkdir(parents=True, exist_ok=True)
        place = Place(folder, port, metrics_port, mixed, prefill if router.pd else ())
        start = router.start(place)
        self.name, self.pd, self.port, self.version = router.name, router.pd, port, start.version
        self.child = Child(start.command, folder, start.env)
        try:
            self._wait()
        except BaseException:
            self.child.stop()
            raise

    def _wait(self) -> None:
        limit, good, seen = time.monotonic() + READY_LIMIT, 0, ""
        while good < IN_A_ROW:
            self.child.check()
            if time.monotonic() > limit:
                raise UnavailableError(
                    f"not ready after {READY_LIMIT:.0f} s: {seen or self.child.last_words()}"
                )
            seen = ask(self.port)
            good = 0 if seen else good + 1
            if seen:
                time.sleep(0.25)

    def usage(self) -> Usage:
        pids = proc.tree(self.child.pid)
        return Usage(proc.cpu_ns(pids), proc.main_thread_ns(pids), proc.rss_bytes(pids))


@dataclass(frozen=True)
class Usage:
    """What a router has used so far: CPU nanoseconds by process, those of its main threads, resident bytes.

    granian runs the loop in the main thread of its worker, and its supervisor's main thread sleeps: the sum over
    main threads is the loop's.
    """

    cpu: Mapping[int, int]
    main: Mapping[int, int]
    rss: int

    def since(self, before: Usage) -> tuple[float, float]:
        """CPU seconds since `before`, of all and of main threads. A process that has ended since counts nothing."""
        return spent(before.cpu, self.cpu), spent(before.main, self.main)


def spent(before: Mapping[int, int], after: Mapping[int, int]) -> float:
    """Seconds by which what lives now has grown."""
    return sum(used - before.get(pid, 0) for pid, used in after.items()) / 1e9


def ask(port: int) -> str:
    """Send one small chat request. Returns what went wrong, or nothing."""
    chat = {"model": "bench", "messages": [{"role": "user", "content": "hello there"}], "max_tokens": 256}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        data=json.dumps(chat).encode(),
        headers={"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        return f"status {error.code}: {error.read()[:150].decode(errors='replace')}"
    except OSError as error:
        return str(error)
    return ""
