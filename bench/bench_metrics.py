"""A scrape by number of workers, and one event of each kind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fd_router._core import AccessLog
from fd_router.config import LogConfig
from fd_router.edge.routes import METHODS, ROUTES, paths_of
from fd_router.observe.logs import Log
from fd_router.observe.metrics import Metrics
from rig.scraped import Fleet, Scheduler, bound


def access() -> AccessLog:
    """Requests of two endpoints, each with a full window of durations."""
    log = AccessLog(Log(LogConfig(level="error")).journal, METHODS, paths_of(ROUTES))
    for number in range(2000):
        for path in ("/v1/chat/completions", "/register"):
            log.note("POST", path, b"", 200, number / 1000, "10.0.0.9", "")
    return log


def busy(workers: int) -> Metrics:
    """Metrics of a router that has been running for a while."""
    urls = [f"http://10.0.{number // 250}.{number % 250}:8000" for number in range(workers)]
    loads = [(url, "mixed", 3, 1000) for url in urls]
    scheduler = Scheduler(loads, dict.fromkeys(urls, 100_000.0))
    metrics = bound(scheduler, Fleet(dict.fromkeys(urls, True)), access=access())
    for url in urls:
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


@pytest.mark.benchmark(group="metrics: totals")
@pytest.mark.parametrize("side", [1, 128])
def test_totals_of_pairs(benchmark: BenchmarkFixture, side: int) -> None:
    """The event loop takes them every few seconds, of `MAX_SERIES` series at the most."""
    metrics = Metrics()
    for number in range(side * side):
        metrics.counted.answered(f"http://d{number % side}", 200, f"http://p{number // side}")
    assert benchmark(metrics.totals) == (side * side, 0)


EVENTS: dict[str, Callable[[Metrics], None]] = {
    "inference": lambda metrics: metrics.counted.answered("http://10.0.0.1:8000", 200),
    "ttft": lambda metrics: metrics.counted.first_byte("http://10.0.0.1:8000", 200, 0.25),
}


@pytest.mark.benchmark(group="metrics: event")
@pytest.mark.parametrize("event", EVENTS)
def test_event(benchmark: BenchmarkFixture, event: str) -> None:
    benchmark(EVENTS[event], busy(1))
