"""A scrape by number of workers, and one event of each kind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fd_router._core import GAP_BOUNDS, HIT_BOUNDS, AccessLog
from fd_router.config import LogConfig
from fd_router.edge.routes import METHODS, ROUTES, paths_of
from fd_router.observe.logs import Log
from fd_router.observe.metrics import Metrics


class Fleet:
    """A scheduler and a relay that answer as the extension does."""

    def __init__(self, workers: int) -> None:
        self.urls = [f"http://10.0.{number // 250}.{number % 250}:8000" for number in range(workers)]

    def loads(self) -> list[tuple[str, str, int, int]]:
        return [(url, "mixed", 3, 1000) for url in self.urls]

    def up(self) -> list[tuple[str, str, bool]]:
        return [(url, "mixed", True) for url in self.urls]

    def count(self, role: str) -> int:
        return len(self.urls)

    def tree(self) -> SimpleNamespace:
        return SimpleNamespace(blocks=1, nodes=1, bytes=1, evicted=1, expired=1)

    def decisions(self) -> SimpleNamespace:
        hits = [1] * (len(HIT_BOUNDS) + 1)
        return SimpleNamespace(outcomes=[("cache_aware", "chosen", 1)], hit_buckets=hits, hit_sum=1.0)

    def sessions(self) -> tuple[int, int]:
        return 1, 2

    def truth(self) -> SimpleNamespace:
        return SimpleNamespace(prompt=4, predicted=2, cached=1, gone=1)

    def capacities(self) -> list[tuple[str, int]]:
        return [(url, 100_000) for url in self.urls]

    def recorded(self) -> tuple[int, int]:
        return 1, 0

    def stats(self) -> SimpleNamespace:
        gaps = [1] * (len(GAP_BOUNDS) + 1)
        return SimpleNamespace(
            active=1,
            idle_connections=1,
            connections=1,
            resends=1,
            chunks=1,
            bytes=1,
            gap_buckets=gaps,
            gap_sum=1.0,
        )


def access() -> AccessLog:
    """Requests of two endpoints, each with a full window of durations."""
    log = AccessLog(Log(LogConfig(level="error")).journal, METHODS, paths_of(ROUTES))
    for number in range(2000):
        for path in ("/v1/chat/completions", "/register"):
            log.note("POST", path, b"", 200, number / 1000, "10.0.0.9", "")
    return log


def busy(workers: int) -> Metrics:
    """Metrics of a router that has been running for a while."""
    fleet = Fleet(workers)
    metrics = Metrics()
    gate = SimpleNamespace(in_flight=0, waiting=0, body_bytes=0)
    log = SimpleNamespace(lost_lines=0)
    sources: Any = {"scheduler": fleet, "access": access(), "relay": fleet, "log": log, "overload": gate}
    sources["snapshots"] = SimpleNamespace(age=1.0, written_bytes=1, failures=0, restored_blocks=1)
    metrics.bind(fleet=fleet, **sources)  # type: ignore[arg-type]
    for url in fleet.urls:
        metrics.counted.answered(url, 200)
        metrics.counted.answered(url, 500)
        metrics.counted.first_byte(url, 200, 0.25)
        metrics.upstream_error(url, "refused")
        metrics.probe(url, True)
    return metrics


@pytest.mark.benchmark(group="metrics: scrape")
@pytest.mark.parametrize("workers", [10, 100, 1000])
def test_scrape(benchmark: BenchmarkFixture, workers: int) -> None:
    text = benchmark(busy(workers).render)
    assert text.count(b"fd_router_worker_running{") == workers


@pytest.mark.benchmark(group="metrics: wake-up beside scrapes")
@pytest.mark.parametrize("scraping", [False, True], ids=["alone", "beside scrapes"])
def test_wake_up_of_another_thread(benchmark: BenchmarkFixture, scraping: bool) -> None:
    """A thread that sleeps and wakes, as an event loop does, beside scrapes of 1,000 workers."""
    metrics = busy(1000)
    over = threading.Event()

    def scrape() -> None:
        while scraping and not over.is_set():
            metrics.render()

    scraper = threading.Thread(target=scrape)
    scraper.start()
    benchmark.pedantic(time.sleep, args=(0.0005,), rounds=400)
    over.set()
    scraper.join()


EVENTS: dict[str, Callable[[Metrics], None]] = {
    "inference": lambda metrics: metrics.counted.answered("http://10.0.0.1:8000", 200),
    "ttft": lambda metrics: metrics.counted.first_byte("http://10.0.0.1:8000", 200, 0.25),
}


@pytest.mark.benchmark(group="metrics: event")
@pytest.mark.parametrize("event", EVENTS)
def test_event(benchmark: BenchmarkFixture, event: str) -> None:
    benchmark(EVENTS[event], busy(1))
