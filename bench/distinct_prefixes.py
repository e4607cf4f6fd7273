"""`python distinct_prefixes.py PREFIXES CAPACITY`: stream distinct prompts through a fleet of 64.

Prints the CPU seconds of the slowest decision, the bytes by which resident memory grew, and the blocks evicted.
CPU time of the thread, so that a machine shared with others does not count as a stall.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from workload import Fleet, Prompts, body_of


def resident() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def main(prefixes: int, capacity: int) -> None:
    prompts = Prompts(8_000)
    # Imports, the leases in hand and the interpreter's own memory are there before the measurement.
    settled = Fleet(64, 1 << 20)
    settled.grow(prompts, 20_000)
    before = resident()
    fleet = Fleet(64, capacity)
    slowest = 0.0
    for _ in range(prefixes):
        body = body_of(prompts.fresh())
        start = time.thread_time()
        fleet.decide(body)
        slowest = max(slowest, time.thread_time() - start)
    print(slowest, resident() - before, fleet.scheduler.tree().evicted)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
