"""Hundreds of thousands of distinct prefixes: no selection waits for the tree, and memory stays within its capacity."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rig.table import FULL

STREAM = Path(__file__).with_name("prefix_stream.py")
PREFIXES, TRAFFIC, CAPACITY_MB = (250_000, 360_000, 64) if FULL else (20_000, 10_000, 4)
"""In full, half an hour of 200 requests a second."""
STALL_SECS = 0.005
MORE = 1.1
"""Of the capacity: pages that are in part another's."""


@pytest.mark.parametrize(("lost", "idle_mins"), [("evicted", 60.0), ("expired", 0.0005)])
def test_distinct_prefixes(lost: str, idle_mins: float) -> None:
    """Pushed out by others, or by age. In a process of its own, whose memory is the trees'."""
    arguments = map(str, (PREFIXES, TRAFFIC, CAPACITY_MB, idle_mins))
    run = subprocess.run(
        [sys.executable, str(STREAM), *arguments], check=True, capture_output=True, text=True, timeout=600
    )
    found = json.loads(run.stdout)
    print(found)
    assert found[lost] > PREFIXES, "the tree never was full, or never old"
    assert found["selection"] < STALL_SECS
    assert found["step"] < STALL_SECS
    assert found["grown"] <= MORE * CAPACITY_MB * 2**20
