"""Snapshots: what is written, what is read, and what is told of it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from fd_router._core import Request, Scheduler
from fd_router.observe.logs.lasting import Lasting
from fd_router.state.snapshot import Snapshots
from fd_router.state.store import FileStore
from rig import core, wait_for

if TYPE_CHECKING:
    from pathlib import Path

BODY = b'{"prompt": "' + b"x" * 6400 + b'"}'


class Log:
    """Keeps (level, message) of what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.lasting = Lasting(lambda message: self.lines.append(("info", message)))

    def __getattr__(self, level: str) -> Any:
        return lambda message: self.lines.append((level, message))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def scheduler(**settings: Any) -> Scheduler:
    return core.scheduler({"mixed": "least_work"}, **settings)


def taught() -> Scheduler:
    """With one worker that was sent a prompt of a hundred blocks."""
    made = scheduler()
    made.add("a", "mixed")
    lease = core.book(made, "mixed", Request.scan(BODY, chat=False))
    lease.answered()
    lease.release()
    return made


def snapshots(path: Path | None, of: Scheduler, log: Log, clock: Clock | None = None) -> Snapshots:
    store = FileStore(path) if path is not None else None
    return Snapshots(store, of, log, clock=clock or Clock(), wall=lambda: 1e9)  # type: ignore[arg-type]


def write(path: Path, of: Scheduler) -> Snapshots:
    kept = snapshots(path, of, Log())
    kept.begin()
    kept.end()
    return kept


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path, log = tmp_path / "deep" / "snapshot", Log()
    before = write(path, taught())
    assert before.written_bytes == path.stat().st_size > 800
    after = scheduler()
    again = snapshots(path, after, log)
    again.load()
    assert again.restored_blocks == after.tree().blocks == 100
    assert log.lines == [("info", "[fd-router] state: goes on from a snapshot of 100 blocks and 1 workers")]
    assert [each.name for each in path.parent.iterdir()] == ["snapshot"]


def test_without_a_folder_nothing_happens() -> None:
    log = Log()
    kept = snapshots(None, taught(), log)
    kept.load()
    asyncio.run(kept.round())
    kept.end()
    assert (kept.age, kept.failures, log.lines) == (0.0, 0, [])


def test_no_file_is_no_news(tmp_path: Path) -> None:
    log = Log()
    snapshots(tmp_path / "snapshot", scheduler(), log).load()
    assert log.lines == []


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda data: data[:-1], "it is damaged"),
        (lambda data: data[:10], "it is damaged"),
        (lambda data: data[:-30] + b"?" + data[-29:], "it is damaged"),
        (lambda data: data[:8] + b"\x63" + data[9:], "it is of version 99, not 1"),
        (lambda _: b'{"version":1,"workers":[]}', "it is no snapshot"),
        (lambda _: b"", "it is no snapshot"),
    ],
)
def test_a_file_of_no_use_is_told_in_one_line(tmp_path: Path, spoil: Any, told: str) -> None:
    path, log, after = tmp_path / "snapshot", Log(), scheduler()
    write(path, taught())
    path.write_bytes(spoil(path.read_bytes()))
    snapshots(path, after, log).load()
    assert log.lines == [("warn", f"[fd-router] state: the snapshot is not used: {told}")]
    assert after.tree().blocks == 0


def test_another_block_size_is_told(tmp_path: Path) -> None:
    path, log = tmp_path / "snapshot", Log()
    write(path, taught())
    snapshots(path, scheduler(cache_block_size=32), log).load()
    ((level, message),) = log.lines
    assert level == "warn"
    assert message.endswith("its blocks are of 64, not 32 (scheduler.cache-block-size)")


@pytest.mark.parametrize(("secs", "blocks"), [(-86_400.0, 100), (60.0, 100), (31_536_000.0, 0)])
def test_a_clock_that_was_set_in_between_costs_prefixes_at_the_most(
    tmp_path: Path, secs: float, blocks: int
) -> None:
    """Back by a day it says nothing; forward by a year it says that all has expired."""
    path, log, after = tmp_path / "snapshot", Log(), scheduler()
    write(path, taught())
    again = Snapshots(FileStore(path), after, log, clock=Clock(), wall=lambda: 1e9 + secs)  # type: ignore[arg-type]
    again.load()
    assert log.lines == [
        ("info", f"[fd-router] state: goes on from a snapshot of {blocks} blocks and 1 workers")
    ]
    after.add("a", "mixed")
    assert core.book(after, "mixed", Request.scan(BODY, chat=False)).url == "a"


def test_trouble_lasts_and_its_end_is_told(tmp_path: Path) -> None:
    path, log, clock = tmp_path / "snapshot", Log(), Clock()
    (path / "in the way").mkdir(parents=True)
    kept = snapshots(path, taught(), log, clock)
    kept.load()
    assert [level for level, _ in log.lines] == ["warn"]
    log.lines.clear()
    for wanted in (1, 2, 3):
        kept.begin()
        wait_for(lambda: kept.failures == wanted)  # noqa: B023 - called here and now
    clock.now += 70
    assert kept.age == 70
    assert [level for level, _ in log.lines] == ["error"]
    assert "no snapshot can be written: " in log.lines[0][1]
    (path / "in the way").rmdir()
    path.rmdir()
    kept.begin()
    kept.end()
    assert kept.age == 0
    ((level, message),) = log.lines[1:]
    assert level == "info"
    assert message.startswith("[fd-router] over: no snapshot can be written; it lasted ")
    assert message.endswith(", and was met 3 times")
    assert [each.name for each in tmp_path.iterdir()] == ["snapshot"]


class Slow:
    """A scheduler whose snapshot has another piece each time, and takes its time."""

    def __init__(self) -> None:
        self.goes_on = threading.Semaphore(0)
        self.copies = 0
        self.pieces = 3

    def copy(self) -> Slow:
        self.copies += 1
        self.pieces = 3
        return self

    def piece(self, _wall: float) -> bytes | None:
        self.goes_on.acquire()
        self.pieces -= 1
        return b"x" * 10 if self.pieces >= 0 else None


def test_one_at_a_time_and_the_last_after_what_is_under_way(tmp_path: Path) -> None:
    slow, log = Slow(), Log()
    kept = snapshots(tmp_path / "snapshot", slow, log)  # type: ignore[arg-type]
    kept.begin()
    wait_for(lambda: slow.copies == 1)
    for _ in range(5):
        kept.begin()
    for _ in range(8):
        slow.goes_on.release()
    kept.end()
    assert slow.copies == 2
    assert kept.written_bytes == 30


def test_what_takes_too_long_at_the_end_is_given_up(tmp_path: Path) -> None:
    path, slow, log = tmp_path / "snapshot", Slow(), Log()
    path.write_bytes(b"before")
    kept = snapshots(path, slow, log)  # type: ignore[arg-type]
    kept.begin()
    slow.goes_on.release()
    kept.end(0.05)
    for _ in range(4):
        slow.goes_on.release()
    wait_for(lambda: kept.failures == 1)
    assert path.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["snapshot"]
