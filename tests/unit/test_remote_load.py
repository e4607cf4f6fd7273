"""Asking engines for their load and the size of their cache, and whom the scheduler believes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from fd_router.fleet.registry import Registry
from fd_router.fleet.remote_load import CACHE_PERIOD, CACHE_POLICIES, POLICIES, RemoteLoad
from fd_router.observe.logs.lasting import Lasting
from fd_router.types import Instance
from fd_router.upstream.trust import Trust
from rig import core
from rig.raw_worker import reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import RawWorker

LOAD = b"fastdeploy:num_requests_running 1\nfastdeploy:num_requests_waiting 0\n"
CACHE = b"fastdeploy:max_gpu_block_num 100\n"


class Log:
    """Keeps the levels of what is logged."""

    def __init__(self) -> None:
        self.levels: list[str] = []
        self.lasting = Lasting(lambda _: self.levels.append("info"))

    def __getattr__(self, level: str) -> Callable[[str], None]:
        return lambda _: self.levels.append(level)


def policies_of(reads_load: bool) -> list[str]:
    return ["fd_remote_metrics_score"] if reads_load else ["least_work"]


def ask(
    raw_worker: Callable[..., RawWorker], page: bytes, *, reads_load: bool, **fields: Any
) -> tuple[list[float], list[str]]:
    """Ask a worker with this page once; the capacities that are known then, and the levels of what was logged."""
    worker = raw_worker(lambda _: reply(page))
    scheduler = core.scheduler({"mixed": "least_work"})
    registry = Registry(scheduler)
    instance = Instance("mixed", "127.0.0.1", worker.port, **fields)
    registry.put(instance)
    log = Log()

    async def run() -> None:
        remote = RemoteLoad(registry, scheduler, log, 5.0, trust=Trust(), policies=policies_of(reads_load))  # type: ignore[arg-type]
        await remote.ask(instance)
        await remote.close()

    asyncio.run(run())
    return [tokens for _, tokens in scheduler.capacities()], log.levels


def test_who_is_asked_for_what() -> None:
    assert {"fd_remote_metrics_score", "remote_cache_aware"} == POLICIES
    assert {"least_work"} == CACHE_POLICIES


@pytest.mark.parametrize("reads_load", [True, False])
def test_the_size_that_an_engine_tells_is_taken(
    raw_worker: Callable[..., RawWorker], reads_load: bool
) -> None:
    assert ask(raw_worker, LOAD + CACHE, reads_load=reads_load) == ([6400], [])


def test_a_registration_s_word_counts_more(raw_worker: Callable[..., RawWorker]) -> None:
    assert ask(raw_worker, LOAD + CACHE, reads_load=True, cache_tokens=5000) == ([5000], [])


@pytest.mark.parametrize(("reads_load", "levels"), [(True, ["warn"]), (False, [])])
def test_without_counts_the_size_is_taken_all_the_same(
    raw_worker: Callable[..., RawWorker], reads_load: bool, levels: list[str]
) -> None:
    assert ask(raw_worker, CACHE, reads_load=reads_load) == ([6400], levels)


def test_an_engine_that_does_not_tell_is_no_fault(raw_worker: Callable[..., RawWorker]) -> None:
    assert ask(raw_worker, b"", reads_load=False) == ([], [])


def test_the_size_alone_is_asked_for_now_and_then() -> None:
    nobody: Any = SimpleNamespace()

    async def periods(reads_load: bool) -> list[float]:
        remote = RemoteLoad(nobody, nobody, nobody, 5.0, trust=Trust(), policies=policies_of(reads_load))
        await remote.close()
        return [remote.period(interval) for interval in (1.0, 100.0)]

    assert asyncio.run(periods(True)) == [1.0, 100.0]
    assert asyncio.run(periods(False)) == [CACHE_PERIOD, 100.0]


def test_other_policies_want_to_know_other_things(raw_worker: Callable[..., RawWorker]) -> None:
    worker = raw_worker(lambda _: reply(LOAD + CACHE))
    scheduler = core.scheduler({"mixed": "request_num"})
    registry = Registry(scheduler)
    instance = Instance("mixed", "127.0.0.1", worker.port)
    registry.put(instance)
    log: Any = Log()

    async def run() -> None:
        remote = RemoteLoad(registry, scheduler, log, 5.0, trust=Trust(), policies=["request_num"])
        for policy, asked in (
            ("request_num", 0),
            ("least_work", 1),
            ("fd_remote_metrics_score", 2),
            ("random", 2),
        ):
            remote.reconfigure([policy], 5.0)
            await remote.ask(instance)
            assert (policy, len(worker.hits)) == (policy, asked)
        await remote.close()

    asyncio.run(run())


@pytest.mark.parametrize("asks_start", [True, False])
def test_when_an_engine_started_is_asked_whatever_the_policy(
    raw_worker: Callable[..., RawWorker], asks_start: bool
) -> None:
    """A later start takes its credit away, and is told; an earlier one is another process behind the same url."""
    started = iter([100, 100, 200, 100])
    worker = raw_worker(lambda _: reply(b"process_start_time_seconds %d\n" % next(started)))
    scheduler = core.scheduler({"mixed": "cache_aware"})
    registry = Registry(scheduler)
    instance = Instance("mixed", "127.0.0.1", worker.port)
    registry.put(instance)
    log: Any = Log()

    async def run() -> None:
        remote = RemoteLoad(
            registry, scheduler, log, 5.0, trust=Trust(), policies=["cache_aware"], asks_start=asks_start
        )
        for _ in range(4):
            await remote.ask(instance)
        await remote.round()
        await remote.close()

    asyncio.run(run())
    assert len(worker.hits) == (4 if asks_start else 0)
    assert log.levels == (["info"] if asks_start else [])
