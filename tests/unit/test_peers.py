"""The parts of the side-by-side benchmark that need no router: /proc, medians, table, bars."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))
from sidebyside import gate, proc, table  # noqa: E402
from sidebyside.measure import Bench, costs  # noqa: E402
from sidebyside.routers import OURS_NAME, ROUTERS, Place, register_text  # noqa: E402
from sidebyside.rows import ROWS  # noqa: E402

sys.path.remove(str(BENCH))


def stat_line(pid: int, parent: int, user: int, system: int, name: str = "a (b) c") -> str:
    head = f"{pid} ({name}) S {parent} " + " ".join(["0"] * 9)
    return f"{head} {user} {system} 7 8 20 0 1 0 100 1000 10\n"


@pytest.fixture
def fake_proc(tmp_path: Path) -> Path:
    for pid, parent, user, system in ((10, 1, 100, 50), (11, 10, 30, 20), (12, 11, 5, 5), (13, 1, 900, 900)):
        folder = tmp_path / str(pid)
        (folder / "task" / str(pid)).mkdir(parents=True)
        (folder / "stat").write_text(stat_line(pid, parent, user, system))
        (folder / "task" / str(pid) / "stat").write_text(stat_line(pid, parent, user // 2, 0))
        (folder / "statm").write_text("1000 25 10 1 0 100 0\n")
    (tmp_path / "meminfo").write_text("")
    return tmp_path


def test_usage_is_summed_over_the_tree_and_nothing_else(fake_proc: Path) -> None:
    pids = proc.tree(10, fake_proc)
    assert sorted(pids) == [10, 11, 12]
    assert proc.cpu_seconds(pids, fake_proc) == pytest.approx(210 / proc.TICKS)
    assert proc.main_thread_seconds([11, 12], fake_proc) == pytest.approx(17 / proc.TICKS)
    assert proc.rss_bytes(pids, fake_proc) == 3 * 25 * proc.PAGE


def test_a_process_that_ended_counts_nothing(fake_proc: Path) -> None:
    assert proc.cpu_seconds([10, 99], fake_proc) == pytest.approx(150 / proc.TICKS)
    assert proc.rss_bytes([99], fake_proc) == 0


def sample(**figures: float) -> dict[str, float]:
    return {"rps": 1.0, "errors": 0.0, **figures}


def test_latency_is_taken_off_within_its_round_before_the_median() -> None:
    bench = Bench("", 0, [])
    bench.samples = {
        "row": {
            "direct": [sample(latency_p50_ms=value) for value in (1.0, 5.0, 9.0)],
            "nginx": [sample(latency_p50_ms=value, errors=1.0) for value in (3.0, 6.0, 12.0)],
        }
    }
    figures = bench.medians()["row"]["nginx"]
    assert figures["added_latency_p50_ms"] == pytest.approx(2.0)
    assert figures["latency_p50_ms"] == pytest.approx(6.0)
    assert figures["errors"] == pytest.approx(3.0)


def test_costs_name_chunks_only_where_there_are_some() -> None:
    unary = costs({"requests": 1000, "chunks": 0}, 0.05, 0.02)
    assert unary == pytest.approx({"cpu_us_request": 50.0, "loop_us_request": 20.0})
    stream = costs({"requests": 10, "chunks": 1000}, 0.05, 0.02)
    assert stream["cpu_us_chunk"] == pytest.approx(50.0)
    assert stream["loop_us_request"] == pytest.approx(2000.0)


def test_a_bar_holds_fails_or_lacks_a_figure() -> None:
    bar = gate.Bar("row", "cpu_us_request", 0.5, "smg")
    results = {"row": {OURS_NAME: {"cpu_us_request": 40.0}, "smg": {"cpu_us_request": 100.0}}}
    assert bar.verdict(results)[0] is True
    results["row"][OURS_NAME]["cpu_us_request"] = 51.0
    holds, line = bar.verdict(results)
    assert holds is False
    assert "51.00 = 0.51x, at most 0.5x smg" in line
    del results["row"]["smg"]
    holds, line = bar.verdict(results)
    assert holds is None
    assert "smg" in line


def test_a_missing_figure_fails_the_gate() -> None:
    passed, lines = gate.judge({})
    assert not passed
    assert len(lines) == len(gate.BARS)


def test_bars_name_rows_and_routers_that_exist() -> None:
    rows = {row.name for row in ROWS}
    names = {router.name for router in ROUTERS}
    for bar in gate.BARS:
        assert {bar.row, bar.peer_row or bar.row} <= rows
        assert {bar.router, bar.peer or bar.router} <= names


def test_the_table_shows_what_was_measured_and_what_was_not() -> None:
    report = {
        "rows": {
            "row": {
                "direct": sample(),
                OURS_NAME: sample(loop_us_request=20.0),
                "smg": sample(loop_us_request=9.0),
            }
        },
        "titles": {"row": "some traffic"},
        "versions": {"smg": "1"},
        "machine": {"cores": "2"},
        "rounds": 3,
        "unavailable": {"nginx": "not installed"},
        "errors": {"row/smg": "status 503"},
    }
    text = table.markdown(report, (OURS_NAME,))
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert "20" in lines[OURS_NAME]
    assert " 9 " not in lines["smg"]
    assert "Not measured: nginx: not installed" in text
    assert "First error of row/smg: status 503" in text


def test_static_instances_take_the_role_of_their_list(tmp_path: Path) -> None:
    mixed = register_text(Place(tmp_path, 1, 2, ("127.0.0.1:7",)))
    assert "role: mixed, host_ip: 127.0.0.1, port: 7," in mixed
    pair = register_text(Place(tmp_path, 1, 2, ("127.0.0.1:7",), ("127.0.0.1:8",)))
    assert "role: decode, host_ip: 127.0.0.1, port: 7," in pair
    assert "role: prefill, host_ip: 127.0.0.1, port: 8," in pair
