"""The process keeps the memory it was given."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

PAGE = 4096
PIECE = 256 * 1024
ROUNDS = 100

CHURN = f"""
import resource, sys, threading
from fd_router.runtime import memory

if sys.argv[1] == "settled":
    memory.settle()

def churn():
    for _ in range({ROUNDS}):
        pieces = [bytes({PIECE}) for _ in range(8)]  # a long body, as the server's thread makes it
        del pieces

thread = threading.Thread(target=churn)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    run = subprocess.run(
        [sys.executable, "-c", CHURN, how], capture_output=True, text=True, check=True, timeout=60
    )
    return int(run.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc")
def test_the_pieces_of_long_bodies_are_not_mapped_again_and_again() -> None:
    once = 8 * PIECE // PAGE
    assert page_faults("settled") < 3 * once < page_faults("as it comes")
