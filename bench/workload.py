"""Seeded requests for the scheduling benchmarks, and fleets that have seen many of them."""

from __future__ import annotations

import itertools
import json
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from fd_router._core import Lease, Request
from fd_router.config import SchedulerConfig
from fd_router.routing.scheduling import Recorded, new_scheduler

BLOCK = 64
SEED = 20_260_101
WORDS = 4_000
LINE = 80


class Prompts:
    """An endless supply of chat bodies of one length, part new, part a known prompt gone on with."""

    def __init__(self, chars: int, seed: int = SEED) -> None:
        self.chars = chars
        self._random = random.Random(seed)
        self._numbers = itertools.count()
        self._filler = filler(self._random, 4 * chars)

    def fresh(self) -> str:
        """A prompt that shares no block with any other."""
        number = next(self._numbers)
        start = (number * 97) % (3 * self.chars)
        return f"{number:08d} {self._filler[start:]}"[: self.chars - 1] + "."

    def continued(self, prompt: str) -> str:
        """A prompt whose first half is that of another."""
        half = self.chars // 2
        return prompt[:half] + self.fresh()[: self.chars - half]


def filler(rng: random.Random, chars: int) -> str:
    """Text of words and lines, as prompts have it."""
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(WORDS)]
    text = ""
    while len(text) < chars:
        line = ""
        while len(line) < LINE:
            line += rng.choice(words) + " "
        text += line + "\n"
    return text[:chars]


def body_of(prompt: str) -> bytes:
    """A chat request as clients send it."""
    system = "You are a helpful assistant."
    messages = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
    members = {"model": "m", "stream": True, "temperature": 0.7, "messages": messages, "session_id": "s"}
    return json.dumps(members, ensure_ascii=False).encode()


class Fleet:
    """A scheduler under load, whose policy looks at prefixes: each worker has about two requests in hand."""

    def __init__(
        self,
        workers: int,
        capacity: int = 1 << 30,
        record: Recorded | None = None,
        *,
        policy: str = "cache_aware",
    ) -> None:
        # Wide thresholds keep every decision on the long way, the scored one.
        settings = replace(
            SchedulerConfig(),
            cache_block_size=BLOCK,
            cache_max_memory_mb=capacity >> 20,
            balance_abs_threshold=1e9,
            load_balance_weight=0.05,
        )
        self.scheduler = new_scheduler(
            settings, {"mixed": policy}, metrics_interval_secs=1.0, seed=SEED, record=record
        )
        for number in range(workers):
            self.scheduler.add(f"http://10.0.{number // 250}.{number % 250}:8188", "mixed")
        self._leases: deque[Lease] = deque(maxlen=2 * workers)

    def decide(self, body: bytes) -> None:
        """One decision through the border: scan, hash, match, score, record, book; and the oldest lease given back."""
        lease = self.scheduler.select("mixed", Request.scan(body, True))
        assert lease is not None
        self._leases.append(lease)

    def grow(self, prompts: Prompts, blocks: int) -> list[str]:
        """Decide until the tree has `blocks`. Returns some of the prompts, spread over all, 2,000 at most."""
        count = blocks // (prompts.chars // BLOCK) + 1
        every = count // 2_000 + 1
        known: list[str] = []
        for number in range(count):
            prompt = prompts.fresh()
            self.decide(body_of(prompt))
            if number % every == 0:
                known.append(prompt)
        return known


def traffic(prompts: Prompts, known: list[str]) -> Iterator[bytes]:
    """Bodies of which every other one goes on with a known prompt."""
    rng = random.Random(SEED)
    while True:
        yield body_of(prompts.fresh())
        yield body_of(prompts.continued(rng.choice(known)))
