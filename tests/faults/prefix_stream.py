"""`python prefix_stream.py PREFIXES TRAFFIC CAPACITY_MB IDLE_MINS`: distinct prompts in prefix trees, then traffic.

Several schedulers are given the same: what takes long by the work itself takes long in all of them, what takes long by
the machine in one of them. All times are of the thread's CPU, in seconds. Prints JSON:

- `selection`: the slowest selection, each counted by its quickest scheduler;
- `step`: the slowest step of ageing, of the scheduler that is best in that;
- `grown`: bytes by which resident memory grew for each tree;
- `evicted`, `expired`: blocks, of the scheduler with the fewest.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fd_router._core import Request, Scheduler
from rig.core import book, scheduler
from rig.memory import rss

ALIKE = 3
WORKERS = 64
CHARS = 2_000
AGED_EVERY = 500
"""Selections between two rounds of ageing, of which the router has one a second."""
SEED = 11


def main(prefixes: int, traffic: int, capacity_mb: int, idle_mins: float) -> None:
    rng = random.Random(SEED)
    text = "".join(rng.choices("etaoin shrdlu", k=4 * CHARS))
    settled = fleet(1, idle_mins)
    for number in range(2_000):
        select(settled, prompt(text, number))
    before = rss(os.getpid())
    fleets = [fleet(capacity_mb, idle_mins) for _ in range(ALIKE)]
    selection, steps = 0.0, [0.0] * ALIKE
    for number in range(prefixes + traffic):
        known = number >= prefixes and number % 2
        body = prompt(text, rng.randrange(number - 1_000, number) if known else number, more=known)
        selection = max(selection, min([select(each, body) for each in fleets]))
        if number % AGED_EVERY == 0 and number >= prefixes:
            steps = [max(slowest, age(each)) for slowest, each in zip(steps, fleets, strict=True)]
    trees = [each.tree() for each in fleets]
    print(
        json.dumps(
            {
                "selection": selection,
                "step": min(steps),
                "grown": (rss(os.getpid()) - before) / ALIKE,
                "evicted": min(tree.evicted for tree in trees),
                "expired": min(tree.expired for tree in trees),
            }
        )
    )


def fleet(capacity_mb: int, idle_mins: float) -> Scheduler:
    made = scheduler(
        {"mixed": "cache_aware"},
        cache_max_memory_mb=capacity_mb,
        eviction_duration_mins=idle_mins,
        balance_abs_threshold=1e9,
    )
    for number in range(WORKERS):
        made.add(f"http://10.0.0.{number}:8188", "mixed")
    return made


def prompt(text: str, number: int, *, more: int = 0) -> bytes:
    """Of a number; no two share a block. With `more` the same goes on."""
    start = number * 97 % (3 * CHARS)
    told = f"{number:08d} {text[start : start + CHARS]}" + (" and then" if more else "")
    return json.dumps({"messages": [{"role": "user", "content": told}]}).encode()


def select(of: Scheduler, body: bytes) -> float:
    start = time.thread_time()
    lease = book(of, "mixed", Request.scan(body, True))
    taken = time.thread_time() - start
    lease.release()
    return taken


def age(of: Scheduler) -> float:
    """A round of ageing, step by step as the router does it; the slowest step."""
    slowest, more = 0.0, True
    while more:
        start = time.thread_time()
        _, more = of.expire()
        slowest = max(slowest, time.thread_time() - start)
    return slowest


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
