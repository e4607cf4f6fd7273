"""CPU that logging costs a mixed request at level info to a file: seven lines, caller and writing thread together.

The decision that four of the lines tell of is part of the figure.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fd_router._core import AccessLog, Lease, Request
from fd_router.config import LogConfig, SchedulerConfig
from fd_router.edge.routes import METHODS, ROUTES, paths_of
from fd_router.observe.logs import Log, messages, tags
from fd_router.routing.scheduling import new_scheduler

URL = "http://10.0.0.1:8000"
REQUESTS = 200


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(LogConfig(output="file"), directory=str(tmp_path / "logs"))
    yield log
    log.close()
    assert log.lost_lines == 0


def booking(log: Log) -> Callable[[str], Lease]:
    """Books a prompt on one of two workers by cache_aware, whose four lines go to the log."""
    scheduler = new_scheduler(
        SchedulerConfig(), {"mixed": "cache_aware"}, metrics_interval_secs=1.0, seed=0, journal=log.journal
    )
    scheduler.add(URL, "mixed")
    scheduler.add(URL + "1", "mixed")
    request = Request.scan(b'{"prompt": "hello"}', False)

    def book(ids: str) -> Lease:
        lease = scheduler.select("mixed", request, tags=ids)
        assert lease is not None
        return lease

    return book


def one_request(log: Log, access: AccessLog, book: Callable[[str], Lease], number: int) -> None:
    """What a streamed mixed request with cache_aware logs."""
    ids = tags("trace-0123456789abcdef", None, f"session-{number % 100}", f"request-{number}")
    log.info(messages.PARSED, ids)
    lease = book(ids)
    lease.first_byte()
    lease.ended(200)
    lease.release()
    access.note("POST", "/v1/chat/completions", b"", 200, 0.002798235, "10.0.0.9", ids)


@pytest.mark.benchmark(group="logs: one request", timer=time.thread_time)
def test_caller(benchmark: BenchmarkFixture, log: Log) -> None:
    numbers = itertools.count()
    access, book = AccessLog(log.journal, METHODS, paths_of(ROUTES)), booking(log)
    benchmark.pedantic(lambda: one_request(log, access, book, next(numbers)), rounds=200, iterations=10)


@pytest.mark.benchmark(group="logs: 200 requests", timer=time.process_time)
def test_caller_and_writer(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Process CPU from the first line until the last is in the file."""

    def run() -> None:
        log = Log(LogConfig(output="file"), directory=str(tmp_path / "logs"))
        access, book = AccessLog(log.journal, METHODS, paths_of(ROUTES)), booking(log)
        for number in range(REQUESTS):
            one_request(log, access, book, number)
        log.close()
        assert log.lost_lines == 0

    benchmark.pedantic(run, rounds=20)


BELOW_LEVEL: list[Callable[[Log], None]] = [
    lambda log: log.debug("never shown"),
    lambda log: log.info("never shown"),
]


@pytest.mark.benchmark(group="logs: below level")
@pytest.mark.parametrize("call", BELOW_LEVEL, ids=["debug", "info"])
def test_below_level(benchmark: BenchmarkFixture, call: Callable[[Log], None]) -> None:
    quiet = Log(LogConfig(level="error"))
    benchmark(call, quiet)
    quiet.close()
