"""Routers that many cases share, and lend out one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from parity.scene import at_once
from rig import RawWorker, Router, Stage

# No round of the monitor falls into a case that has not asked for one.
NO_ROUNDS = "manager: {health-check-interval-secs: 3600}\n"
MIXED = NO_ROUNDS
SPLIT = "server: {splitwise: true}\n" + NO_ROUNDS
CACHED = SPLIT + "scheduler: {prefill-policy: cache_aware, cache-block-size: 4, stats-interval-secs: 1}\n"
WATCHFUL = (
    "manager: {health-check-interval-secs: 1, health-failure-threshold: 1, forget-after-secs: 0,"
    " health-check-timeout-secs: 20}\n"
)


@pytest.fixture(scope="session")
def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("shared"))
    yield stage
    stage.close()


@pytest.fixture(scope="session")
def shared_mixed(shared_stage: Stage) -> Router:
    return shared_stage.start_router(MIXED)


@pytest.fixture(scope="session")
def shared_split(shared_stage: Stage) -> Router:
    return shared_stage.start_router(SPLIT)


@pytest.fixture(scope="session")
def shared_cached(shared_stage: Stage) -> Router:
    return shared_stage.start_router(CACHED)


@pytest.fixture(scope="session")
def shared_watchful(shared_stage: Stage) -> Router:
    return shared_stage.start_router(WATCHFUL)


@contextmanager
def lend(router: Router) -> Iterator[Router]:
    """The router with an empty log; its workers go when the case is over."""
    router.forget_log()
    yield router
    router.assert_idle()
    router.assert_same_worker()
    for items in router.registered().values():
        for item in items:
            assert router.post("/unregister", {"url": item["url"]}).status_code == 200


# The stage of the case is asked for first, so that its workers live until the router has let them go.


@pytest.fixture
def mixed(stage: Stage, shared_mixed: Router) -> Iterator[Router]:
    """Mixed mode, everything by default, no rounds of the monitor."""
    with lend(shared_mixed) as router:
        yield router


@pytest.fixture
def split(stage: Stage, shared_split: Router) -> Iterator[Router]:
    """PD mode by `server.splitwise`, everything else by default, no rounds of the monitor."""
    with lend(shared_split) as router:
        yield router


@pytest.fixture
def cached(stage: Stage, shared_cached: Router) -> Iterator[Router]:
    """PD mode, prefill by `cache_aware` with blocks of 4, a `[stats]` line each second."""
    with lend(shared_cached) as router:
        yield router


@pytest.fixture
def watchful(stage: Stage, shared_watchful: Router) -> Iterator[Router]:
    """Mixed mode, a round of the monitor each second, one failure is enough, a lost worker must register again."""
    with lend(shared_watchful) as router:
        yield router


@pytest.fixture
def worker(stage: Stage) -> RawWorker:
    """One that is well, not registered."""
    return stage.raw_worker(at_once)


@pytest.fixture(scope="session")
def shared_by_policy() -> dict[tuple[str, bool], Router]:
    """Routers by policy and whether they are in PD mode, started when they are first asked for."""
    return {}


@pytest.fixture
def with_policy(
    stage: Stage, shared_stage: Stage, shared_by_policy: dict[tuple[str, bool], Router]
) -> Iterator[Callable[..., Router]]:
    """`with_policy("random")`: a router that has one policy for every role, no rounds of the monitor."""
    with ExitStack() as loans:

        def borrow(policy: str, *, splitwise: bool = False) -> Router:
            key = policy, splitwise
            if key not in shared_by_policy:
                policies = f"policy: {policy}, prefill-policy: {policy}, decode-policy: {policy}"
                flags = ["--splitwise"] if splitwise else []
                shared_by_policy[key] = shared_stage.start_router(
                    f"scheduler: {{{policies}}}\n{NO_ROUNDS}", *flags
                )
            return loans.enter_context(lend(shared_by_policy[key]))

        yield borrow


@pytest.fixture
def in_background() -> Iterator[Callable[..., Future[Any]]]:
    """`in_background(router.chat, "hello")` runs beside the test."""
    with ThreadPoolExecutor(16) as pool:
        yield pool.submit
