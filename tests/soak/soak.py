"""The soak: load as a day has it, pressed into minutes, with cancels, engine faults and engine restarts.

Run by `bash build.sh soak --minutes N`. Prints what the router held and what became of the requests. Fails when
- its memory grows by 1 MB a minute or more after the warm-up (of a third of the run, at most 5 minutes),
- it has more descriptors in the end than in the beginning, or a counter is not 0,
- clients, the router's metrics and the engines do not agree on what went wrong, or a request fails for no reason.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

# Run as a program, this file's own folder is on the path instead of the one that holds `rig`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rig import Engine, Router, Stage
from rig.crowd import Crowd
from rig.memory import rss, worker_pid
from rig.wait import wait_for

ENGINES = 4
LOW, HIGH = 10.0, 60.0
"""Requests a second in the middle, and at both ends, of the run."""
CANCELS = 0.05
STREAMED = 0.6
PREFIXES = 40
MINUTE = 60.0
FAULTS_EVERY = 15.0
AT_ONCE = 3
"""Requests that a fault hits: less than take an engine out."""
FAULTS = (
    {"cut": "mid-stream", "cut_how": "close"},
    {"cut": "mid-frame", "cut_how": "reset"},
    {"status": 500},
    {"cut": "before-head", "cut_how": "reset"},
)
LONG = 120
"""Tokens of an answer whose client leaves, after `LEAVE_SECS`."""
LEAVE_SECS = 0.4
SLOPE_LIMIT = 1.0
"""MB a minute."""
SPARE_FILES = 8
CLIENTS = 16
DECISIONS = 40_000
"""More than are kept."""
CONFIG = (
    "scheduler: {policy: cache_aware, cache-max-memory-mb: 8}\n"
    "manager: {health-check-interval-secs: 1}\nlog: {output: file}"
)


@dataclass
class Seen:
    """What clients saw."""

    outcomes: Counter[str] = field(default_factory=Counter)
    injected: Counter[str] = field(default_factory=Counter)
    """Requests that engines let down on purpose, by fault."""
    victims: int = 0
    """Requests that were running on engines when those were killed: the most that may fail for it."""
    restarts: int = 0


class Soak:
    """One run."""

    def __init__(self, stage: Stage, minutes: float, seed: int) -> None:
        self.stage = stage
        self.secs = minutes * MINUTE
        self.chance = random.Random(seed)
        self.seen = Seen()
        self.armed = False
        """Whether an engine waits for requests to let down."""
        self.turn = asyncio.Lock()
        """Who does harm: one at a time, so that it can be told apart."""
        self.router: Router = stage.start_router(CONFIG)
        self.engines = [self.start_engine() for _ in range(ENGINES)]
        self.router.wait_workers(mixed=ENGINES)
        self.pid = worker_pid(self.router)
        # What may be asked about at /decisions grows to its bound by then; a leak is what grows on.
        Crowd(self.router, CLIENTS, max_tokens=1).ask(DECISIONS)
        self.samples: list[tuple[float, int, int]] = []

    async def run(self) -> None:
        """Everything at once, until the time is over."""
        self.start = time.monotonic()
        await asyncio.gather(self.load(), self.faults(), self.restarts(), self.watch())

    def elapsed(self) -> float:
        return time.monotonic() - self.start

    async def load(self) -> None:
        """As many requests as the hour asks for, whatever becomes of them."""
        asked: set[asyncio.Task[None]] = set()
        due = 0.0
        while (now := self.elapsed()) < self.secs:
            await asyncio.sleep(max(0.0, due - now))
            place = 2 * self.elapsed() / self.secs - 1
            due = max(due, now - 1.0) + 1 / (LOW + (HIGH - LOW) * place * place)
            task = asyncio.create_task(self.request())
            asked.add(task)
            task.add_done_callback(asked.discard)
        await asyncio.gather(*asked)

    async def request(self) -> None:
        """One request on a connection of its own."""
        stream = self.chance.random() < STREAMED
        # Where a fault waits for its victims nobody leaves: what was injected is to be seen.
        cancel = not self.armed and self.chance.random() < CANCELS
        prompt = f"conversation {self.chance.randrange(PREFIXES)}: " + "and so on " * 200
        body = json.dumps(
            {
                "model": "mock",
                "messages": [{"role": "user", "content": prompt}],
                "stream": stream,
                "max_tokens": LONG if cancel else self.chance.randrange(5, 60),
            }
        ).encode()
        outcome = await ask(self.router.port, body, cancel=cancel)
        self.seen.outcomes[outcome] += 1

    async def faults(self) -> None:
        """One engine after the other lets a few requests down."""
        number = 0
        while self.elapsed() < self.secs - 2 * FAULTS_EVERY:
            await asyncio.sleep(FAULTS_EVERY)
            fault = FAULTS[number % len(FAULTS)]
            async with self.turn:
                self.armed = True
                engine = self.engines[number % ENGINES]
                before = await asyncio.to_thread(engine.stats)
                await asyncio.to_thread(engine.fault, **fault, times=AT_ONCE)
                await self.until_hit(engine, before)
                await asyncio.to_thread(engine.heal)
                after = await asyncio.to_thread(engine.stats)
                self.armed = False
            number += 1
            self.seen.injected[str(fault.get("cut", "status"))] += hits(after) - hits(before)

    async def until_hit(self, engine: Engine, before: dict[str, int]) -> None:
        for _ in range(100):
            stats = await asyncio.to_thread(engine.stats)
            if hits(stats) - hits(before) >= AT_ONCE:
                return
            await asyncio.sleep(0.1)

    async def restarts(self) -> None:
        """Each minute an engine is killed, and another one comes."""
        while self.elapsed() < self.secs - MINUTE / 2:
            await asyncio.sleep(min(MINUTE, self.secs / 3))
            async with self.turn:
                engine = self.engines.pop(0)
                running = await asyncio.to_thread(self.router.running)
                # Some come between the look and the act.
                self.seen.victims += running.get(engine.url, 0) + AT_ONCE
                await asyncio.to_thread(engine.kill)
                self.seen.restarts += 1
                self.engines.append(await asyncio.to_thread(self.start_engine))
                await asyncio.to_thread(self.router.wait_workers, mixed=ENGINES)

    def start_engine(self) -> Engine:
        return self.stage.start_engine(self.router, token_secs=0.01, max_batch=64, record=1)

    async def watch(self) -> None:
        """What the process holds."""
        while self.elapsed() < self.secs:
            self.samples.append((self.elapsed(), rss(self.pid), files(self.pid)))
            await asyncio.sleep(1.0)

    def slope(self) -> float:
        """MB a minute after the warm-up: least squares."""
        after = min(5 * MINUTE, self.secs / 3)
        points = [(at / MINUTE, held / 1e6) for at, held, _ in self.samples if at >= after]
        mean_at = sum(at for at, _ in points) / len(points)
        mean_held = sum(held for _, held in points) / len(points)
        spread = sum((at - mean_at) ** 2 for at, _ in points)
        return sum((at - mean_at) * (held - mean_held) for at, held in points) / spread

    def judge(self, files_before: int) -> list[str]:
        """Print the figures; what is wrong."""
        router, seen = self.router, self.seen
        wrong = []
        router.assert_idle()
        metrics = router.metrics()
        for name, labels in COUNTERS:
            value = metrics.value(name, **labels)
            if value:
                wrong.append(f"{name}{labels or ''} is {value:g} in the end")
        wait_for(lambda: metrics_value(router, "fd_router_upstream_idle_connections") == 0, limit=20)
        files_after = files(self.pid)
        if files_after > files_before + SPARE_FILES:
            wrong.append(f"{files_after} descriptors, {files_before} in the beginning")
        slope = self.slope()
        if slope >= SLOPE_LIMIT:
            wrong.append(f"memory grows by {slope:.2f} MB a minute")
        wrong += self.accounts(metrics)
        held = [each[1] / 1e6 for each in self.samples]
        print(f"requests              {sum(seen.outcomes.values())}: {dict(sorted(seen.outcomes.items()))}")
        print(f"engines killed        {seen.restarts}, with up to {seen.victims} requests on them")
        print(f"errors injected       {sum(seen.injected.values())}: {dict(seen.injected)}")
        print(f"memory                {held[0]:.1f} MB, {max(held):.1f} at most, {held[-1]:.1f} in the end")
        print(f"minute by minute      {' '.join(f'{each:.1f}' for each in held[:: int(MINUTE)])}")
        print(f"slope after warm-up   {slope:+.2f} MB a minute")
        most = max(each[2] for each in self.samples)
        print(f"descriptors           {files_before} before, {files_after} after, {most} at most")
        return wrong

    def accounts(self, metrics: object) -> list[str]:
        """Whether clients, router and engines say the same."""
        seen, wrong = self.seen, []
        log = "".join(path.read_text() for path in self.router.process.log.parent.glob("logs/router-*.log"))
        broken = log.count(": scanner error: ")
        left = log.count("[fd-router] client: ")
        # Who is about to leave may lose its engine first.
        unseen = broken - seen.outcomes["error event"]
        if unseen < 0 or unseen != seen.outcomes["left"] - left:
            wrong.append(
                f"log: {broken} streams broke off, {left} clients left; clients: {dict(seen.outcomes)}"
            )
        failed = sum(
            seen.outcomes[outcome]
            for outcome in seen.outcomes
            if outcome in ("error event", "500", "502", "504")
        )
        # Before its head a request is sent again, and nobody sees that it was let down.
        visible = sum(count for fault, count in seen.injected.items() if fault != "before-head")
        if not visible <= failed <= visible + seen.victims:
            wrong.append(
                f"{failed} requests failed, {visible} were let down and {seen.victims} lost their engine"
            )
        for outcome in seen.outcomes.keys() - {"served", "left", "error event", "500", "502"}:
            wrong.append(f"{seen.outcomes[outcome]} requests ended as {outcome}")
        return wrong


COUNTERS: list[tuple[str, dict[str, str]]] = [
    ("fd_router_upstream_exchanges", {}),
    ("fd_router_requests", {"state": "served"}),
    ("fd_router_requests", {"state": "waiting"}),
    ("fd_router_body_bytes", {}),
    ("fd_router_log_lines_lost_total", {}),
]


def hits(stats: dict[str, int]) -> int:
    """Requests that an engine has let down."""
    return stats["broken_off"] + stats["refused"]


def metrics_value(router: Router, name: str) -> float:
    return router.metrics().value(name)


def files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


async def ask(port: int, body: bytes, *, cancel: bool) -> str:
    """One request; how it ended."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: r\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(body), body)
        )
        if cancel:
            # In the middle of an answer of more than a second; the router watches for it by then.
            await asyncio.sleep(LEAVE_SECS)
            return "left"
        return await rest(reader)
    except ConnectionError as error:
        return type(error).__name__
    finally:
        writer.close()


async def rest(reader: asyncio.StreamReader) -> str:
    answer = await reader.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1].decode() if head.startswith(b"HTTP/1.1 ") else "nothing"
    if status != "200":
        return status
    if b"text/event-stream" not in head:
        return "served"
    if b'data: {"error":' in body:
        return "error event"
    return "served" if b"data: [DONE]" in body and body.endswith(b"0\r\n\r\n") else "cut"


def main() -> int:
    """Run the soak; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="build.sh soak", description="Run fd-router for a while under all weathers."
    )
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (20)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fd-router-soak-") as folder:
        stage = Stage(Path(folder))
        try:
            soak = Soak(stage, options.minutes, options.seed)
            files_before = files(soak.pid)
            asyncio.run(soak.run())
            wrong = soak.judge(files_before)
        finally:
            stage.close()
    for line in wrong:
        print(f"soak: {line}", file=sys.stderr)
    print("\nsoak: failed" if wrong else "\nsoak: all went well")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
