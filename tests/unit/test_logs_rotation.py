"""Dated files: names, link, midnight, grace, adoption, retention, broken directories."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fd_router.config import LogConfig
from fd_router.observe.logs import Log
from fd_router.observe.logs.line import describe_text
from fd_router.observe.logs.retention import clean, doomed
from fd_router.observe.logs.rotation import GRACE_SECS, DatedFiles
from rig.wait import wait_for

DAY_1 = time.mktime((2026, 2, 28, 23, 59, 50, 0, 0, -1))
DAY_2 = DAY_1 + 20


class Files:
    """A sink under test with hands on its clocks."""

    def __init__(self, directory: Path, **settings: float) -> None:
        self.now = DAY_1
        self.steady = 0.0
        keep = {"max_age_days": 7, "max_total_bytes": 10**9, "cleanup_interval_secs": -1.0} | settings
        self.sink = DatedFiles(
            str(directory),
            clock=lambda: self.now,
            monotonic=lambda: self.steady,
            **keep,  # type: ignore[arg-type]
        )

    def write(self, *stamped: tuple[float, str]) -> int:
        """Write (second, message) lines, each by itself; returns the number lost."""
        self.sink.tend()
        lost = 0
        for second, text in stamped:
            day, _, prefixes, _ = describe_text(int(second))
            lost += self.sink.write(day, False, f"{prefixes[1]}{text}\n".encode(), 1)[0]
        return lost


def content(path: Path) -> list[str]:
    return [line.split(": ")[1] for line in path.read_text().splitlines()]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


def test_a_dated_file_and_a_relative_link(logs: Path) -> None:
    Files(logs).write((DAY_1, "a"))
    assert os.readlink(logs / "router.log") == "router-2026-02-28.log"
    assert content(logs / "router.log") == ["a"]


def test_the_day_switches_with_the_first_line_after_midnight(logs: Path) -> None:
    files = Files(logs)
    files.write((DAY_1, "a"), (DAY_2, "b"))
    assert content(logs / "router-2026-02-28.log") == ["a"]
    assert content(logs / "router-2026-03-01.log") == ["b"]
    assert os.readlink(logs / "router.log") == "router-2026-03-01.log"


def test_late_lines_reach_the_old_file_for_a_while(logs: Path) -> None:
    files = Files(logs)
    files.write((DAY_1, "a"))
    files.write((DAY_2, "b"))
    files.steady = GRACE_SECS - 1
    files.write((DAY_1, "late"))
    files.steady = GRACE_SECS + 1
    files.write((DAY_1, "too late"))
    assert content(logs / "router-2026-02-28.log") == ["a", "late"]
    assert content(logs / "router-2026-03-01.log") == ["b", "too late"]
    assert os.readlink(logs / "router.log") == "router-2026-03-01.log"


def test_lines_are_appended_after_a_restart(logs: Path) -> None:
    for text in ("a", "b"):
        files = Files(logs)
        files.write((DAY_1, text))
        files.sink.close()
    assert content(logs / "router.log") == ["a", "b"]


def test_a_regular_router_log_becomes_today_s_file(logs: Path) -> None:
    logs.mkdir()
    (logs / "router.log").write_text("[INFO] x: old\n")
    Files(logs).write((DAY_1, "new"))
    assert content(logs / "router-2026-02-28.log") == ["old", "new"]
    assert (logs / "router.log").is_symlink()


def test_a_regular_router_log_beside_today_s_file_is_appended(logs: Path) -> None:
    logs.mkdir()
    (logs / "router-2026-02-28.log").write_text("[INFO] x: first\n")
    (logs / "router.log").write_text("[INFO] x: second\n")
    Files(logs).write((DAY_1, "third"))
    assert content(logs / "router-2026-02-28.log") == ["first", "second", "third"]
    assert (logs / "router.log").is_symlink()


def test_a_file_that_is_moved_away_is_made_again(logs: Path) -> None:
    files = Files(logs)
    files.write((DAY_1, "a"))
    (logs / "router-2026-02-28.log").rename(logs / "moved")
    files.write((DAY_1, "b"))
    assert content(logs / "moved") == ["a"]
    assert content(logs / "router.log") == ["b"]


def test_opened_anew_they_let_go_of_files_and_put_the_link_back(logs: Path) -> None:
    files = Files(logs)
    files.write((DAY_1, "a"))
    (logs / "router-2026-02-28.log").rename(logs / "kept")
    (logs / "router.log").unlink()
    assert str(logs / "kept") in open_files()
    files.sink.reopen()
    assert str(logs / "kept") not in open_files()
    files.write((DAY_1, "b"))
    assert content(logs / "kept") == ["a"]
    assert content(logs / "router.log") == ["b"]


def open_files() -> list[str]:
    """The files behind this process's descriptors, some of which come and go."""
    paths = []
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            paths.append(os.readlink(f"/proc/self/fd/{fd}"))
    return paths


def test_something_in_the_way_of_the_link_costs_no_line(logs: Path) -> None:
    (logs / "router.log").mkdir(parents=True)
    assert Files(logs).write((DAY_1, "a")) == 0
    assert content(logs / "router-2026-02-28.log") == ["a"]


def test_a_directory_that_cannot_be_made_loses_lines_until_it_can(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    files = Files(tmp_path / "logs")
    assert files.write((DAY_1, "a"), (DAY_1, "b")) == 2
    (tmp_path / "logs").unlink()
    assert files.write((DAY_1, "c")) == 0
    assert content(tmp_path / "logs" / "router.log") == ["c"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_counted_and_survived(logs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logs.mkdir()
    today = time.strftime("%Y-%m-%d")
    (logs / f"router-{today}.log").symlink_to("/dev/full")
    log = Log(
        LogConfig(output="file"),
        directory=str(logs),
        clock=lambda: time.mktime(time.strptime(today, "%Y-%m-%d")),
    )
    log.info("a")
    wait_for(lambda: log.lost_lines == 1)
    (logs / f"router-{today}.log").unlink()
    log.info("b")
    log.close()
    assert content(logs / "router.log") == ["b"]
    assert "No space left" in capfd.readouterr().err


NAMES = [f"router-2026-02-{day:02d}.log" for day in range(1, 11)]


@pytest.mark.parametrize(
    ("age", "size", "kept"),
    [
        (7, 10**9, NAMES[2:]),
        (0, 10**9, NAMES[9:]),
        (10**9, 10**9, NAMES),
        (10**9, 450, NAMES[5:]),
        (10**9, 400, NAMES[5:]),
        (10**9, 0, NAMES[9:]),
        (2, 100, NAMES[8:]),
    ],
)
def test_retention_by_age_and_size(age: int, size: int, kept: list[str]) -> None:
    deleted = doomed(dict.fromkeys(NAMES, 100), "2026-02-10", age, size)
    assert sorted(set(NAMES) - set(deleted)) == kept


@given(
    st.dictionaries(st.sampled_from(NAMES), st.integers(0, 1000)), st.integers(0, 20), st.integers(0, 3000)
)
def test_retention_deletes_oldest_first_and_no_more_than_it_must(
    sizes: dict[str, int], age: int, size: int
) -> None:
    deleted = doomed(sizes, "2026-02-10", age, size)
    archives = sorted(set(sizes) - {NAMES[9]})
    assert deleted == archives[: len(deleted)]
    kept = archives[len(deleted) :]
    assert sum(sizes[name] for name in kept) <= size
    assert all(name >= f"router-2026-02-{max(1, 10 - age):02d}.log" for name in kept)
    if deleted:
        last = deleted[-1]
        too_old = age < 9 and last < f"router-2026-02-{10 - age:02d}.log"
        assert too_old or sum(sizes[name] for name in [last, *kept]) > size


def test_only_dated_files_are_deleted(logs: Path) -> None:
    logs.mkdir()
    for name in ("router-2020-01-01.log", "router.log", "notes.log", "router-2020-01-01.log.gz"):
        (logs / name).write_text("x")
    clean(logs, "2026-02-10", 7, 0)
    assert sorted(path.name for path in logs.iterdir()) == [
        "notes.log",
        "router-2020-01-01.log.gz",
        "router.log",
    ]


@pytest.mark.parametrize(("interval", "rounds"), [(60.0, [0, 60]), (0.0, [0, 1]), (-1.0, [])])
def test_cleanup_comes_at_start_and_then_at_intervals(logs: Path, interval: float, rounds: list[int]) -> None:
    files = Files(logs, cleanup_interval_secs=interval)
    logs.mkdir()
    cleaned = []
    for steady in (0.0, 0.5, 1.0, 59.0, 60.0):
        (logs / "router-2020-01-01.log").write_text("x")
        files.steady = steady
        files.write()
        if not (logs / "router-2020-01-01.log").exists():
            cleaned.append(int(steady))
    assert cleaned[: len(rounds)] == rounds
    assert bool(cleaned) == bool(rounds)
