"""The demo of the README: ends well in both modes, ends badly when it must, and leaves nothing running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig import Process, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

DEMO = Path(__file__).parents[1] / "rig" / "demo.py"


def processes_of(folder: Path) -> list[str]:
    """Command lines of live processes that work somewhere under a folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdecimal() and str(folder) in os.readlink(process / "cwd"):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it ended, or is not ours to look at
    return found


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """Where the demo makes its folder; at the end nothing runs there and nothing is left."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    yield scratch
    # A router's worker whose supervisor was ended at its start notices that within a second.
    wait_for(lambda: not processes_of(scratch), why=lambda: str(processes_of(scratch)))
    assert list(scratch.iterdir()) == []


def run_demo(scratch: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DEMO), *arguments],
        env={**os.environ, "TMPDIR": str(scratch)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_mixed(scratch: Path) -> None:
    ran = run_demo(scratch)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("served by mixed-") == 3
    assert '"mixed":3' in ran.stdout.replace(" ", "")
    # The policy sends the second chat to where the first one warmed the cache.
    assert "448 of 471 prompt tokens were cached" in ran.stdout
    assert ran.stdout.splitlines()[-1] == "demo: all went well; everything is stopped"


def test_splitwise(scratch: Path) -> None:
    ran = run_demo(scratch, "--splitwise")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("prefill http://") == 3
    assert "448 of 471 prompt tokens were cached" in ran.stdout


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the package with the Valkey needs Python 3.11")
def test_replicas(scratch: Path) -> None:
    ran = run_demo(scratch, "--replicas", "3")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # Cold for the first router; the others know where it was, and so after the first was killed.
    told = re.findall(r"(\d+) of 471 prompt tokens were cached", ran.stdout)
    assert told[:3] == ["0", "448", "448"]
    assert "20 of 20 further requests served by the 2 others" in ran.stdout
    assert ran.stdout.count('"mixed":3') == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_keep_stays_up_until_told(scratch: Path, tmp_path: Path, number: signal.Signals) -> None:
    log = tmp_path / "demo.log"
    demo = Process([sys.executable, str(DEMO), "--keep"], log, cwd=tmp_path, env={"TMPDIR": str(scratch)})
    try:
        wait_for(lambda: "tail -f" in demo.output() or demo.status is not None, limit=60, why=demo.output)
        assert demo.status is None, demo.output()
        assert len(processes_of(scratch)) >= 4
        demo.send(number)
        assert demo.wait() == 0, demo.output()
    finally:
        demo.stop()


def test_interrupted_at_work(scratch: Path, tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    demo = Process([sys.executable, str(DEMO)], log, cwd=tmp_path, env={"TMPDIR": str(scratch)})
    try:
        wait_for(lambda: "starting fd-router" in demo.output(), why=demo.output)
        demo.send(signal.SIGINT)
        assert demo.wait() == 130, demo.output()
    finally:
        demo.stop()
