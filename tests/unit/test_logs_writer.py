"""The queue and its thread: order, bounds, loss, close, fork; levels and streams of `Log`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from fd_router._core import Journal
from fd_router.config import LogConfig
from fd_router.errors import printable
from fd_router.observe.logs import Log, tags
from fd_router.observe.logs.sink import Outlet
from fd_router.observe.logs.writer import Writer
from rig.log_grammar import check
from rig.wait import wait_for


class Gate:
    """A sink that can be held, and that fails on demand."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.open = threading.Event()
        self.open.set()
        self.waiting = threading.Event()
        self.error: OSError | None = None
        self.raises: Exception | None = None
        self.closed = False

    def write(self, _day: str, _errors: bool, data: bytes, lines: int) -> tuple[int, OSError | None]:
        if self.raises is not None:
            raise self.raises
        self.waiting.set()
        self.open.wait()
        if self.error is not None:
            return lines, self.error
        self.written.append(data)
        return 0, None

    def tend(self) -> None:
        pass

    def reopen(self) -> None:
        self.written.append(b"(anew)\n")

    def close(self) -> None:
        self.closed = True

    def lines(self) -> list[str]:
        return b"".join(self.written).decode().splitlines()

    def has(self, number: int) -> bool:
        """Whether exactly so many lines were written."""
        return len(self.lines()) == number


class Pen:
    """A writer under test, and the journal that feeds it bare messages."""

    def __init__(self, gate: Gate, **limits: int) -> None:
        self.journal = Journal(
            level=0,
            json=False,
            errors_apart=False,
            describe=lambda second: (str(second), "", [""] * 4, ""),
            escape=printable,
            clock=lambda: 0.0,
            **limits,
        )
        self.put = self.journal.info
        self.writer = Writer(self.journal, gate)
        self.close = self.writer.close

    @property
    def lost(self) -> int:
        return self.writer.lost

    def has_lost(self, number: int) -> bool:
        return self.lost == number


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def test_lines_are_written_in_order(gate: Gate) -> None:
    writer = Pen(gate)
    expected = [f"line {number}" for number in range(10_000)]
    for line in expected:
        writer.put(line)
    writer.close()
    assert gate.lines() == expected
    assert gate.closed
    assert writer.lost == 0


def test_a_single_line_is_written_without_waiting_for_more(gate: Gate) -> None:
    writer = Pen(gate)
    for number in range(3):
        writer.put(f"line {number}")
        wait_for(partial(gate.has, number + 1))
    writer.close()


def test_many_threads_lose_nothing(gate: Gate) -> None:
    writer = Pen(gate)
    threads = [
        threading.Thread(target=lambda name=name: [writer.put(f"{name} {number}") for number in range(2000)])
        for name in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    lines = gate.lines()
    for name in "abcd":
        assert [line for line in lines if line[0] == name] == [f"{name} {number}" for number in range(2000)]


def held(gate: Gate, **limits: int) -> Pen:
    """A writer whose thread is stuck in a write."""
    gate.open.clear()
    writer = Pen(gate, **limits)
    writer.put("first")
    assert gate.waiting.wait(20)
    return writer


def test_the_queue_is_bounded_in_lines(gate: Gate) -> None:
    writer = held(gate, max_lines=10)
    for number in range(15):
        writer.put(f"line {number}")
    assert writer.lost == 5
    gate.open.set()
    writer.close()
    assert gate.lines() == ["first", *(f"line {number}" for number in range(10))]


def test_the_queue_is_bounded_in_bytes(gate: Gate) -> None:
    writer = held(gate, max_bytes=1010)
    for _ in range(15):
        writer.put("x" * 100)
    assert writer.lost == 5
    gate.open.set()
    wait_for(lambda: len(gate.lines()) == 11)
    writer.put("y" * 1000)
    writer.close()
    assert gate.lines()[-1] == "y" * 1000
    assert writer.lost == 5


def test_a_sink_is_opened_anew_before_it_is_given_what_comes_later(gate: Gate) -> None:
    writer = held(gate)
    writer.put("before")
    writer.writer.reopen()
    writer.put("after")
    gate.open.set()
    writer.close()
    lines = gate.lines()
    assert lines[0] == "first"
    assert lines.index("(anew)") < lines.index("after")
    assert lines.count("(anew)") == 1


def test_a_giant_line_is_cut(gate: Gate) -> None:
    writer = Pen(gate)
    writer.put("z" * 1_000_000)
    writer.close()
    assert gate.lines() == ["z" * 262_144]


def test_close_is_bounded_and_counts_what_it_leaves(gate: Gate) -> None:
    writer = held(gate)
    writer.put("second")
    writer.close(timeout_secs=0.01)
    assert writer.lost == 1
    writer.put("third")
    assert writer.lost == 2
    writer.close()
    assert writer.lost == 2


def test_errors_are_counted_and_said_once_a_spell(gate: Gate, capfd: pytest.CaptureFixture[str]) -> None:
    writer = Pen(gate)
    gate.error = OSError(28, "No space left on device")
    for number in range(3):
        writer.put("gone")
        wait_for(partial(writer.has_lost, number + 1))
    gate.error = None
    writer.put("kept")
    wait_for(lambda: gate.lines() == ["kept"])
    gate.error = OSError(30, "Read-only file system")
    writer.put("gone")
    writer.close()
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 2
    assert "No space left on device" in said[0]
    assert "Read-only file system" in said[1]
    assert writer.lost == 4


def test_a_defect_in_a_sink_does_not_end_the_log(gate: Gate, capfd: pytest.CaptureFixture[str]) -> None:
    writer = Pen(gate)
    gate.raises = RuntimeError("broken sink")
    writer.put("gone")
    wait_for(lambda: writer.lost == 1)
    gate.raises = None
    writer.put("kept")
    writer.close()
    assert gate.lines() == ["kept"]
    assert "broken sink" in capfd.readouterr().err


def test_an_outlet_counts_lost_lines_and_starts_afresh_after_a_torn_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[bytes] = []
    room = [6]

    def write(fd: int, data: memoryview) -> int:
        size = min(room[0], len(data))
        if not size:
            raise OSError(28, "No space left on device")
        room[0] -= size
        taken.append(bytes(data[:size]))
        return size

    monkeypatch.setattr(os, "write", write)
    outlet = Outlet(99)
    lost, error = outlet.write(b"one\ntwo\nthree\n", 3)
    assert lost == 2
    assert error is not None
    room[0] = 100
    assert outlet.write(b"four\n", 1) == (0, None)
    assert b"".join(taken) == b"one\ntw\nfour\n"


def test_a_full_non_blocking_pipe_is_waited_for() -> None:
    reader, sender = os.pipe()
    os.set_blocking(sender, False)
    outlet = Outlet(sender)
    data = b"x" * 999 + b"\n"
    received: list[bytes] = []
    thread = threading.Thread(target=lambda: received.extend(iter(lambda: os.read(reader, 65536), b"")))
    for _ in range(64):  # most of a pipe's 64 KiB, before anybody reads
        assert outlet.write(data, 1) == (0, None)
    thread.start()
    for _ in range(200):
        assert outlet.write(data, 1) == (0, None)
    os.close(sender)
    thread.join()
    os.close(reader)
    assert b"".join(received) == data * 264


@pytest.mark.parametrize(
    ("level", "shown"),
    [("debug", "DIWE"), ("info", "IWE"), ("warn", "WE"), ("error", "E"), ("nonsense", "E"), ("INFO", "E")],
)
def test_levels(level: str, shown: str, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(LogConfig(level=level))
    for method, text in ((log.debug, "D"), (log.info, "I"), (log.warn, "W"), (log.error, "E")):
        method(text)
    log.close()
    captured = capfd.readouterr()
    assert [line[-1] for line in (captured.out + captured.err).splitlines()] == list(shown)
    assert [line[-1] for line in captured.err.splitlines()] == ["E"]
    assert log.debug_enabled == ("D" in shown)


def test_another_level_counts_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(LogConfig(level="warn"))
    for level in ("warn", "debug", "error"):
        log.set_level(level)
        assert log.debug_enabled is (level == "debug")
        for write in (log.debug, log.info, log.warn, log.error):
            write(level)
    log.close()
    out, err = capfd.readouterr()
    levels = [line[1 : line.index("]")] + line.split(": ")[1] for line in (out + err).splitlines()]
    assert sorted(levels) == [
        "DEBUGdebug",
        "ERRORdebug",
        "ERRORerror",
        "ERRORwarn",
        "INFOdebug",
        "WARNdebug",
        "WARNwarn",
    ]


def test_lines_of_a_log_carry_the_clock_s_second(capfd: pytest.CaptureFixture[str]) -> None:
    now = [1_772_366_400.0]
    log = Log(LogConfig(), clock=lambda: now[0])
    for step in (0, 0.9, 0.1, 3600, -3600):
        now[0] += step
        log.info("Request completed successfully.", tags=tags("t"))
    log.close()
    stamps = [line.split()[2][3:] for line in capfd.readouterr().out.splitlines()]
    assert stamps == ["00:00", "00:00", "00:01", "00:01", "00:01"]


def test_json_lines(capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(LogConfig(format="json"))
    log.info("Request completed successfully.", tags=tags(session_id="a\nb"))
    log.error("scanner error: x\ny")
    log.close()
    captured = capfd.readouterr()
    report = check(captured.out + captured.err)
    assert report.problems == []
    assert [line.kind for line in report.lines] == ["completed", "scanner error"]
    assert report.lines[0].tags == {"session_id": "a\nb"}


# Threads and fork in one process make newer Pythons warn, so this runs in its own.
FORKING = """
import os
from fd_router.config import LogConfig
from fd_router.observe.logs import Log
log = Log(LogConfig())
log.info("parent before")
pid = os.fork()
if pid == 0:
    log.info("child")
    log.close()
    os._exit(0)
os.waitpid(pid, 0)
log.info("parent after")
log.close()
"""


def test_a_forked_child_has_a_log_of_its_own() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    words = sorted(line.split(": ")[1] for line in run.stdout.splitlines())
    assert words == ["child", "parent after", "parent before"]


def test_what_is_queued_at_exit_is_written() -> None:
    code = """
from fd_router.config import LogConfig
from fd_router.observe.logs import Log
log = Log(LogConfig())
for _ in range(5000):
    log.info("x")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.count("\n") == 5000
