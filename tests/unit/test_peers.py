"""The parts of the side-by-side benchmark that need no router: CPU clocks, pairs, table, bars."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rig import wait_for

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))
from sidebyside import gate, pairs, proc, table  # noqa: E402
from sidebyside.measure import Slice, added, costs, medians, speed, turns  # noqa: E402
from sidebyside.routers import (  # noqa: E402
    LOOPS,
    OURS_BEFORE_NAME,
    OURS_NAME,
    OURS_PD_NAME,
    ROUTERS,
    Place,
    register_text,
)
from sidebyside.rows import ROWS  # noqa: E402
from sidebyside.running import Usage  # noqa: E402

sys.path.remove(str(BENCH))

NAMES = {router.name for router in ROUTERS} | {OURS_BEFORE_NAME}
BURNING = """\
import threading, time
def burn():
    until = time.thread_time() + 0.2
    while time.thread_time() < until:
        pass
thread = threading.Thread(target=burn)
thread.start()
thread.join()
print("joined", flush=True)
input()
"""
"""A program whose second thread takes 0.2 s of CPU and ends."""


@pytest.fixture
def fake_proc(tmp_path: Path) -> Path:
    for pid, parent in ((10, 1), (11, 10), (12, 11), (13, 1)):
        folder = tmp_path / str(pid)
        (folder / "task" / str(pid)).mkdir(parents=True)
        (folder / "stat").write_text(f"{pid} (a (b) c) S {parent} 0 0\n")
        (folder / "task" / str(pid) / "schedstat").write_text(f"{pid * 1000} 77 5\n")
        (folder / "statm").write_text("1000 25 10 1 0 100 0\n")
    (tmp_path / "meminfo").write_text("")
    return tmp_path


def test_usage_is_that_of_the_tree_and_nothing_else(fake_proc: Path) -> None:
    pids = proc.tree(10, fake_proc)
    assert sorted(pids) == [10, 11, 12]
    assert proc.main_thread_ns(pids, fake_proc) == {10: 10_000, 11: 11_000, 12: 12_000}
    assert proc.rss_bytes(pids, fake_proc) == 3 * 25 * proc.PAGE


def test_a_process_that_ended_counts_nothing(fake_proc: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert proc.cpu_ns([ended.pid]) == {}
    assert proc.main_thread_ns([99], fake_proc) == {}
    assert proc.rss_bytes([99], fake_proc) == 0


def test_what_an_ended_thread_ran_stays_counted() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", BURNING], stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "joined\n"
        # The kernel's thread outlives the join by a little.
        wait_for(lambda: len(list(Path(f"/proc/{child.pid}/task").iterdir())) == 1)
        main, whole = proc.main_thread_ns([child.pid])[child.pid], proc.cpu_ns([child.pid])[child.pid]
        child.communicate("\n")
    assert 200_000_000 <= whole - main < 250_000_000


def test_a_process_counts_from_the_first_reading_or_its_start() -> None:
    before = Usage({1: 5_000_000_000, 2: 9}, {1: 1_000_000_000}, 0)
    after = Usage({1: 6_000_000_000, 3: 500_000_000}, {1: 1_250_000_000, 3: 0}, 0)
    assert after.since(before) == pytest.approx((1.5, 0.25))


def one(router: str, cycle: int = 0, loop: str = "closed", row: str = "row", **figures: float) -> Slice:
    return Slice(row, loop, cycle, router, {"errors": 0.0, **figures})


def of_cpu(*figures: tuple[str, float], cycle: int = 0, row: str = "row") -> list[Slice]:
    return [one(router, cycle, row=row, cpu_us_request=value) for router, value in figures]


def test_the_anchor_stands_before_and_after_each_other_router() -> None:
    running: list[Any] = [SimpleNamespace(name=name) for name in ("ours", "a", "b", "c")]
    assert [each.name for each in turns(running, "ours", 0)] == [
        "ours",
        "a",
        "ours",
        "b",
        "ours",
        "c",
        "ours",
    ]
    assert [each.name for each in turns(running, "ours", 4)] == [
        "ours",
        "b",
        "ours",
        "c",
        "ours",
        "a",
        "ours",
    ]
    assert [each.name for each in turns(running[1:], "ours", 1)] == ["b", "c", "a"]
    assert [each.name for each in turns(running[:1], "ours", 1)] == ["ours"]


def test_ratios_are_of_neighbours_within_a_cycle() -> None:
    slices = [
        *of_cpu(("ours", 1.0), ("a", 2.0), ("ours", 3.0), ("b", 9.0), ("ours", 30.0)),
        *of_cpu(("ours", 4.0), ("b", 2.0), ("ours", 6.0), ("a", 3.0), ("ours", 9.0), cycle=1),
    ]
    assert pairs.ratios(slices, "row", "ours", "a", "cpu_us_request") == [0.5, 1.5, 2.0, 3.0]
    assert pairs.ratios(slices, "row", "a", "ours", "cpu_us_request") == [2.0, 2 / 3, 0.5, 1 / 3]
    assert pairs.ratios(slices, "row", "ours", "a", "loop_us_request") == []
    # The last slice of a cycle and the first of the next are no pair, nor are those of different loops.
    apart = [*of_cpu(("ours", 1.0)), *of_cpu(("a", 1.0), cycle=1), one("ours", 1, "open", cpu_us_request=1.0)]
    assert pairs.ratios(apart, "row", "ours", "a", "cpu_us_request") == []


def test_a_drift_of_the_machine_moves_no_ratio_of_pairs_as_it_moves_medians() -> None:
    slices = []
    for cycle, slow in enumerate((1.0, 2.0, 8.0)):
        slices += of_cpu(("ours", slow), ("a", 2 * slow * 1.01), ("ours", slow * 1.02), cycle=cycle)
    ratio = pairs.compare(slices, "row", "ours", "a", "cpu_us_request")
    assert ratio is not None
    assert ratio.median == pytest.approx(0.5, abs=0.01)
    assert ratio.high - ratio.low < 0.02
    assert not ratio.leaves_open(1.0)


def test_nothing_is_proved_against_a_peer_that_adds_nothing() -> None:
    slices = [one("ours", added_ttft_p50_ms=0.5), one("a", added_ttft_p50_ms=-0.1)]
    ratio = pairs.compare(slices, "row", "ours", "a", "added_ttft_p50_ms")
    assert ratio is not None
    assert ratio.median == float("inf")


@pytest.mark.parametrize(
    ("count", "cut"), [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (20, 5), (25, 7), (40, 13)]
)
def test_a_spread_leaves_out_what_the_sign_test_allows(count: int, cut: int) -> None:
    # Table of the sign test's 95 % interval for a median.
    assert pairs.outermost(count) == cut
    found = pairs.spread([float(value) for value in range(count, 0, -1)])
    assert (found.low, found.high) == (1.0 + cut, float(count - cut))


def test_latency_has_that_of_direct_taken_off() -> None:
    figures = added({"latency_p50_ms": 3.0, "rps": 5.0}, {"latency_p50_ms": 1.0, "errors": 0.0})
    assert figures == {"added_latency_p50_ms": 2.0}


def test_medians_are_by_row_and_router_and_errors_are_summed() -> None:
    slices = [one("a", cycle, latency_p50_ms=value) for cycle, value in enumerate((1.0, 9.0, 5.0))]
    slices.append(Slice("row", "open", 0, "a", {"cpu_us_at_rate": 7.0, "errors": 2.0}))
    assert medians(slices) == {"row": {"a": {"latency_p50_ms": 5.0, "cpu_us_at_rate": 7.0, "errors": 2.0}}}


def test_latency_is_that_of_the_open_loop_where_there_is_one() -> None:
    latency = {"p50": 1000.0, "p99": 2000.0}
    tally = {"requests": 10, "chunks": 0, "elapsed": 2.0, "latency_us": latency, "ttft_us": latency}
    rows = {row.name: row for row in ROWS}
    assert speed(tally, rows["unary-200"], "closed") == {"rps": 5.0, "cps": 0.0}
    assert speed(tally, rows["unary-200"], "open")["latency_p50_ms"] == pytest.approx(1.0)
    assert set(speed(tally, rows["paced-200"], "closed")) >= {"rps", "ttft_p99_ms"}


def test_costs_name_chunks_and_the_loop_only_where_there_are_some() -> None:
    unary = costs({"requests": 1000, "chunks": 0}, "closed", 0.05, 0.02)
    assert unary == pytest.approx({"cpu_us_request": 50.0, "loop_us_request": 20.0})
    stream = costs({"requests": 10, "chunks": 1000}, "closed", 0.05, None)
    assert stream == pytest.approx({"cpu_us_request": 5000.0, "cpu_us_chunk": 50.0})
    at_rate = costs({"requests": 100, "chunks": 6400}, "open", 0.05, 0.02)
    assert at_rate == pytest.approx({"cpu_us_at_rate": 500.0})


def test_a_bar_holds_fails_or_lacks_a_figure() -> None:
    bar = gate.Bar("row", "cpu_us_request", 0.5, ("smg",))
    assert bar.verdict(of_cpu((OURS_NAME, 40.0), ("smg", 100.0), (OURS_NAME, 42.0)))[0] is True
    holds, line = bar.verdict(of_cpu((OURS_NAME, 51.0), ("smg", 100.0), (OURS_NAME, 52.0)))
    assert holds is False
    assert "51.5 = 0.52 (0.51 to 0.52) x smg, at most 0.5x smg" in line
    assert "noise" not in line
    holds, line = bar.verdict(of_cpu((OURS_NAME, 40.0), ("smg", 100.0), (OURS_NAME, 52.0)))
    assert holds is True
    assert "noise" in line
    holds, line = bar.verdict(of_cpu((OURS_NAME, 40.0)))
    assert holds is None
    assert "beside smg" in line


def test_a_bar_beside_several_peers_is_judged_by_the_best_of_them() -> None:
    bar = gate.Bar("row", "cpu_us_request", 1.0, ("smg", "sglang-router"))
    slices = of_cpu((OURS_NAME, 10.0), ("smg", 20.0), (OURS_NAME, 10.0), ("sglang-router", 8.0))
    holds, line = bar.verdict(slices)
    assert holds is False
    assert "1.25 (1.25 to 1.25) x sglang-router" in line


def test_a_bar_without_peers_is_of_the_figure_itself() -> None:
    bar = gate.Bar("row", "cpu_us_request", 38.0)
    holds, line = bar.verdict(of_cpu((OURS_NAME, 36.0), (OURS_NAME, 37.0), (OURS_NAME, 50.0)))
    assert holds is True
    assert "37.0 (36.0 to 50.0), at most 38.0; noise" in line


def test_a_missing_figure_fails_the_gate() -> None:
    passed, lines = gate.judge([], "HEAD")
    assert not passed
    assert len(lines) == len(gate.BARS)
    assert all(line.startswith("missing") for line in lines)


def test_bars_beside_an_earlier_revision_are_asked_for_only_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bar = gate.Bar("row", "cpu_us_request", 0.85, (OURS_BEFORE_NAME,))
    monkeypatch.setattr(gate, "BARS", (bar,))
    passed, lines = gate.judge([])
    assert passed
    assert "--against" in lines[0]
    assert not gate.judge([], "HEAD")[0]
    assert gate.judge(of_cpu((OURS_NAME, 8.0), (OURS_BEFORE_NAME, 10.0)), "HEAD")[0]


def test_bars_name_rows_and_routers_that_are_neighbours_there() -> None:
    rows = {row.name: row for row in ROWS}
    for bar in gate.BARS:
        row = rows[bar.row]
        assert row.takes(bar.router)
        for peer in bar.peers:
            assert peer in NAMES
            assert row.takes(peer)
            assert row.anchor in (bar.router, peer)


def test_rows_name_routers_that_exist() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert {row.anchor, *row.only} <= NAMES
    assert set(LOOPS) <= NAMES
    assert not next(row for row in ROWS if row.name == "unary-200").takes(OURS_PD_NAME)


def test_another_router_may_be_the_anchor_of_what_is_measured_on_mixed_engines() -> None:
    rows = {row.name: row.anchored("nginx") for row in ROWS}
    assert rows["unary-200"].anchor == rows["paced-2000"].anchor == "nginx"
    assert rows["unary-200"].takes(OURS_NAME)
    assert rows["paced-2000"].takes(OURS_NAME)
    assert not rows["paced-2000"].takes("granian+httpx")
    assert rows["pd-8k"].anchor == OURS_PD_NAME
    assert all(row.anchored(OURS_NAME) == row for row in ROWS)


def report(slices: list[Slice], rounds: int = 3) -> dict[str, Any]:
    return {
        "rows": medians(slices),
        "titles": {"row": "some traffic"},
        "anchors": {"row": OURS_NAME},
        "versions": {"smg": "1"},
        "machine": {"cores": "2"},
        "load": [0.5, 1.0],
        "rounds": rounds,
        "unavailable": {"nginx": "not installed"},
        "errors": {"row/smg": "status 503"},
    }


def test_the_table_shows_what_was_measured_and_what_was_not() -> None:
    slices = [one("direct", rps=9.0), one(OURS_NAME, loop_us_request=20.0), one("smg", rps=7.0)]
    text = table.markdown(report(slices), slices)
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert "20" in lines[OURS_NAME]
    assert "7" in lines["smg"]
    assert "Not measured: nginx: not installed" in text
    assert "First error of row/smg: status 503" in text
    assert "narrower" not in text
    assert "narrower" in table.markdown(report(slices, rounds=1), slices)


def test_the_table_says_which_ratios_are_noise() -> None:
    slices = of_cpu((OURS_NAME, 10.0), ("smg", 20.0), (OURS_NAME, 10.0), ("nginx", 10.5), (OURS_NAME, 11.0))
    text = table.markdown(report(slices), slices)
    ratios = text.partition(f"| {OURS_NAME} / its")[2].splitlines()
    lines = {line.split("|")[1].strip(): line for line in ratios if line.startswith("| ")}
    assert "0.50 (0.50 to 0.50) |" in lines["smg"]
    assert "1.00 (0.95 to 1.05) noise |" in lines["nginx"]


def test_static_instances_take_the_role_of_their_list(tmp_path: Path) -> None:
    mixed = register_text(Place(tmp_path, 1, 2, ("127.0.0.1:7",)))
    assert "role: mixed, host_ip: 127.0.0.1, port: 7," in mixed
    pair = register_text(Place(tmp_path, 1, 2, ("127.0.0.1:7",), ("127.0.0.1:8",)))
    assert "role: decode, host_ip: 127.0.0.1, port: 7," in pair
    assert "role: prefill, host_ip: 127.0.0.1, port: 8," in pair
