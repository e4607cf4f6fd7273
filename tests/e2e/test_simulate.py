"""`fd-router simulate` as a process: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fd_router._core import ENGINES, POLICIES, Request
from fd_router.config import SchedulerConfig
from fd_router.routing.scheduling import new_scheduler
from rig.core import book

COMMAND = [str(Path(sys.executable).with_name("fd-router")), "simulate"]
REQUESTS = 200
RECORDED = 30
BLOCK = 512
DATA = Path(os.environ.get("FD_ROUTER_DATA", Path(__file__).parents[3] / "shared" / "data"))
PNG = b"\x89PNG\r\n\x1a\n"


def simulate(*arguments: object, status: int = 0, env: dict[str, str] | None = None) -> tuple[str, str]:
    """What a run prints on stdout and stderr; it must exit with `status`."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, env=env
    )
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def values(*arguments: object) -> dict[str, Any]:
    """The results of a run by its JSON."""
    return dict(json.loads(simulate(*arguments, "--json", "-")[0]))


def runs(*arguments: object) -> dict[str, dict[str, Any]]:
    """The results for the only trace, by policy."""
    (trace,) = values(*arguments)["traces"]
    return {run["policy"]: run for run in trace["runs"]}


def row(number: int, **more: object) -> dict[str, object]:
    """A request of one of 20 beginnings of four blocks, with two blocks of its own."""
    shared = [100 * (number * 7 % 20) + place for place in range(4)]
    blocks = [*shared, 10_000 + 2 * number, 10_001 + 2 * number]
    return {
        "timestamp": 40 * number,
        "input_length": 6 * BLOCK,
        "output_length": 20,
        "hash_ids": blocks,
    } | more


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return write(tmp_path / "trace.jsonl", [row(number) for number in range(REQUESTS)])


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Written as a router writes: a scheduler that records, two workers, one request after another."""
    path = tmp_path / "decisions.jsonl"
    scheduler = new_scheduler(
        replace(SchedulerConfig(), cache_block_size=16),
        {"mixed": "least_work"},
        metrics_interval_secs=1,
        seed=0,
        record=(str(path), 1 << 20, 4),
    )
    for url in ("http://127.0.0.1:1", "http://127.0.0.1:2"):
        scheduler.add(url, "mixed")
    for number in range(RECORDED):
        body = {"messages": [{"role": "user", "content": f"topic {number % 3} " * 20}], "stream": True}
        lease = book(scheduler, "mixed", Request.scan(json.dumps(body).encode(), chat=True))
        lease.first_byte()
        lease.completed()
        lease.release()
    scheduler.end_recording()
    return path


def test_table_and_json_agree(trace: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    printed, errors = simulate(trace, "--json", file)
    assert errors == ""
    title, head, *lines = printed.splitlines()
    assert title.startswith(f"{trace}: {REQUESTS} requests, 8 engines batching, 2048 blocks of 512 tokens")
    assert head.split()[:4] == ["policy", "hit", "predicted", "balance"]
    (written,) = json.loads(file.read_text())["traces"]
    assert [run["policy"] for run in written["runs"]] == ["request_num", "cache_aware", "least_work"]
    for line, run in zip(lines, written["runs"], strict=True):
        policy, hit, _, balance, mean, p50, *_, failed = line.split()
        assert policy == run["policy"]
        assert hit == f"{run['hit']:.1%}"
        assert balance == f"{run['balance']:.2f}"
        assert mean == f"{run['first_token_ms']['mean']:.0f}"
        assert p50 == f"{run['first_token_ms']['p50']:.0f}"
        assert int(failed) == run["errors"] == 0


def test_prefixes_are_worth_something(trace: Path) -> None:
    found = runs(trace)
    assert found["cache_aware"]["hit"] > found["request_num"]["hit"]
    assert found["request_num"]["predicted_hit"] is None
    assert found["cache_aware"]["predicted_hit"] == pytest.approx(found["cache_aware"]["hit"], abs=0.02)


def test_the_same_seed_gives_the_same(trace: Path) -> None:
    asked = (trace, "--policy", "random", "--policy", "least_work", "--json", "-")
    first = simulate(*asked, "--seed", 7)
    assert simulate(*asked, "--seed", 7) == first
    assert json.loads(simulate(*asked, "--seed", 8)[0])["traces"] != json.loads(first[0])["traces"]


def test_several_routers(trace: Path) -> None:
    asked = (trace, "--policy", "least_work", "--json", "-")
    one, _ = simulate(*asked)
    assert simulate(*asked, "--routers", 1, "--staleness-ms", 500)[0] == one
    found = json.loads(simulate(*asked, "--routers", 3)[0])
    assert (found["routers"], found["staleness_ms"]) == (3, 100)
    assert found["traces"] != json.loads(one)["traces"]
    assert "3 routers 500 ms apart" in simulate(trace, "--routers", 3, "--staleness-ms", 500)[0]


def test_every_policy(trace: Path) -> None:
    names = [policy.name for policy in POLICIES]
    found = runs(trace, *(word for name in names for word in ("--policy", name)))
    assert list(found) == names
    assert {run["requests"] for run in found.values()} == {REQUESTS}


def test_engines_differ(trace: Path) -> None:
    waits = {engine: runs(trace, "--engine", engine)["least_work"]["first_token_ms"] for engine in ENGINES}
    assert len({wait["mean"] for wait in waits.values()}) == len(ENGINES)
    assert waits["mixed"]["mean"] > waits["batching"]["mean"]


def test_a_small_cache_hits_less_and_refuses_what_is_too_long(trace: Path) -> None:
    ample = runs(trace, "--policy", "cache_aware")["cache_aware"]
    small = runs(trace, "--policy", "cache_aware", "--cache-blocks", 12)["cache_aware"]
    assert small["hit"] < ample["hit"]
    tiny = runs(trace, "--policy", "cache_aware", "--cache-blocks", 2)["cache_aware"]
    assert tiny["errors"] == REQUESTS


def test_speed_makes_them_wait(trace: Path) -> None:
    slow, fast = (runs(trace, "--speed", speed)["request_num"] for speed in (1, 50))
    assert fast["makespan_ms"] < slow["makespan_ms"]
    assert fast["first_token_ms"]["mean"] > slow["first_token_ms"]["mean"]


def test_prefill_and_decode_pools(trace: Path) -> None:
    result = values(trace, "--prefill", 3, "--decode", 2)
    assert (result["prefill"], result["decode"]) == (3, 2)
    assert [run["errors"] for run in result["traces"][0]["runs"]] == [0, 0, 0]
    assert "one needs the other" in simulate(trace, "--prefill", 3, status=2)[1]


def test_closed_loop(tmp_path: Path) -> None:
    """Turns of a session come after the answers before them, so the run takes as long as these."""
    first = row(0, session_id="a")
    later = {key: value for key, value in first.items() if key != "timestamp"} | {"delay": 5_000}
    path = write(tmp_path / "loop.jsonl.gz", [first, later, later, later])
    run = runs(path, "--policy", "least_work")["least_work"]
    assert run["requests"] == 4
    assert run["makespan_ms"] > 15_000
    # Three of four find all but the last block, which an engine computes anew for its first token.
    assert run["hit"] == pytest.approx(3 / 4 * 5 / 6)


CALLS = 5


@pytest.fixture
def agents(tmp_path: Path) -> Path:
    """Two sessions of five calls, a second apart; each call repeats the one before it and adds 400 tokens."""

    def call(session: int, number: int) -> dict[str, object]:
        return {
            "timestamp": 1_000_000 * (session + number),
            "session_id": f"session {session}",
            "output": "done" * 20,
            "input_lcp": 1_600 * number,
            "input_tail": f"s{session}c{number}" * 400,
        }

    calls = [call(session, number) for number in range(CALLS) for session in range(2)]
    return write(tmp_path / "agents.jsonl.gz", calls)


def test_calls_of_agents_are_a_closed_loop(agents: Path) -> None:
    asked = (agents, "--policy", "least_work", "--block-size", 16, "--workers", 2)
    run = runs(*asked)["least_work"]
    assert (run["requests"], run["errors"]) == (2 * CALLS, 0)
    # A call a second and 400 tokens more each time, of which the engine has those before.
    assert run["makespan_ms"] == pytest.approx(1_000 * CALLS, rel=0.1)
    assert run["hit"] == pytest.approx(10 / 15, abs=0.01)
    slow = runs(*asked, "--engine", "serial")["least_work"]
    assert slow["makespan_ms"] > run["makespan_ms"], "tools take as long, so slower engines get calls later"
    many = runs(*asked, "--sessions", 7)["least_work"]
    assert many["requests"] == 7 * CALLS
    assert many["makespan_ms"] == pytest.approx(1_000 * (5 + CALLS), rel=0.1)


def test_sessions_are_those_of_agents(agents: Path, trace: Path) -> None:
    assert f"{trace}: --sessions is for" in simulate(trace, "--sessions", 7, status=1)[1]
    bad = write(agents.with_name("bad.jsonl"), [{"input_tail": ""}])
    assert f"{bad}:1: column " in simulate(bad, status=1)[1]


@pytest.mark.parametrize("name", ["miniswe", "taubench"])
def test_published_calls_of_agents(name: str) -> None:
    path = DATA / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    found = runs(path, "--block-size", 16, "--workers", 4, "--sessions", 60)
    assert {run["errors"] for run in found.values()} == {0}
    assert found["least_work"]["hit"] > found["request_num"]["hit"]


def test_configuration(trace: Path, tmp_path: Path) -> None:
    file = tmp_path / "router.yaml"
    file.write_text("scheduler: {policy: cache_aware, hit-ratio-weight: 0, load-balance-weight: 1}\n")
    found = runs(trace, "--config_path", file)
    assert list(found) == ["cache_aware"]
    assert found["cache_aware"] != runs(trace, "--policy", "cache_aware")["cache_aware"]
    file.write_text("scheduler: {copy-cost: many}\n")
    assert "copy-cost" in simulate(trace, "--config_path", file, status=1)[1]


def test_a_recording_is_a_trace(recording: Path) -> None:
    (result,) = values(recording, "--workers", 2, "--output-tokens", 3)["traces"]
    assert [run["requests"] for run in result["runs"]] == [RECORDED] * 3
    assert result["block_size"] == 4


def test_a_recording_plays_again(recording: Path) -> None:
    played = runs(recording, "--engine", "recorded")["as recorded"]
    assert (played["decisions"], played["same"], played["missing"]) == (RECORDED, RECORDED, 0)
    assert "100.0%" in simulate(recording, "--engine", "recorded")[0]
    other = runs(recording, "--engine", "recorded", "--policy", "random")["random"]
    assert other["same"] < RECORDED


def test_a_plot_is_a_picture(trace: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="drawn where fd-router[plot] is installed")
    out = tmp_path / "out.png"
    simulate(trace, "--plot", out)
    assert out.read_bytes().startswith(PNG)


def test_without_matplotlib_nothing_is_drawn(trace: Path, tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError\n")
    out = tmp_path / "out.png"
    env = {"PYTHONPATH": str(tmp_path)}
    assert "pip install 'fd-router[plot]'" in simulate(trace, "--plot", out, status=1, env=env)[1]
    assert not out.exists()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"timestamp": 0', ": column 15: EOF while parsing an object"),
        ('{"input_length": 1, "output_length": 1, "hash_ids": []}', ": needs a timestamp"),
        (
            '{"timestamp": 1e15, "input_length": 1, "output_length": 1, "hash_ids": []}',
            ": timestamp and delay are milliseconds, from 0 to 1e13",
        ),
        (
            '{"timestamp": -1, "input_length": 1, "output_length": 1, "hash_ids": []}',
            ": timestamp and delay are",
        ),
        ('{"timestamp": 0, "input_length": "x", "output_length": 1, "hash_ids": []}', ": column "),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(row(0)) + "\n\n" + line + "\n")
    printed, errors = simulate(path, status=1)
    assert errors.startswith(f"fd-router simulate: {path}:3{problem}")
    assert printed == ""


def test_a_bad_line_of_a_recording_is_named(recording: Path) -> None:
    with recording.open("a") as file:
        file.write("nonsense\n")
    number = len(recording.read_text().splitlines())
    assert f"{recording}:{number}: " in simulate(recording, status=1)[1]


def test_files_that_are_no_traces(tmp_path: Path, trace: Path) -> None:
    gone = tmp_path / "gone.jsonl"
    assert f"{gone}: no such file or directory" in simulate(trace, gone, status=1)[1]
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    assert f"{empty}: no requests" in simulate(empty, status=1)[1]
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(trace.read_bytes())[:100])
    assert f"{cut}: Compressed file ended" in simulate(cut, status=1)[1]
    binary = tmp_path / "binary.jsonl"
    binary.write_bytes(b"{}\n\xff")
    assert f"{binary}:2: no text in UTF-8" in simulate(binary, status=1)[1]
    assert "needs a recording" in simulate(trace, "--engine", "recorded", status=1)[1]
    assert f"{tmp_path}/no/out: no such" in simulate(trace, "--json", tmp_path / "no" / "out", status=1)[1]


@pytest.mark.parametrize(
    ("arguments", "accepted"),
    [
        (["--policy", "fastest"], "least_work"),
        (["--engine", "warp"], "recorded"),
        (["--workers", "0"], "a whole number from 1 to 4096 is accepted"),
        (["--cache-blocks", "none"], "a whole number from 1"),
        (["--routers", "65"], "a whole number from 1 to 64 is accepted"),
        (["--routers", "2", "--engine", "recorded"], "a recording is of one router"),
        (["--speed", "0"], "a number from 0.001 to 1000 is accepted"),
    ],
)
def test_what_is_accepted_is_said(trace: Path, arguments: list[str], accepted: str) -> None:
    errors = simulate(trace, *arguments, status=2)[1]
    assert accepted in errors
