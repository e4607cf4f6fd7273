"""Choosing by load: where streams go, whatever the policy and the kind of prompt.

A stream gives its prompt's tokens back at its first chunk, so that a policy which looks at tokens alone finds everybody
idle, and the tie must not always go to the same engine. In the full form the requests per engine are shown.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from fd_router._core import POLICIES
from rig import Stage, wait_for
from rig.crowd import Crowd, statuses
from rig.router import chat_body
from rig.table import FULL, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig import Engine, Router

NAMES = tuple(policy.name for policy in POLICIES)
BLIND = ("random", "round_robin", "power_of_two")
"""Policies that do not look at the load, or at that of two workers only: held to nothing, but shown."""
QUICK = ("process_tokens", "request_num", "fd_remote_metrics_score", "cache_aware", "least_work")
TESTED = NAMES if FULL else QUICK
STREAMS = 12
CLOSED_LOOP = 24
MEASURED = 480 if FULL else 144
FEW_SECS = 0.04
SPREAD = Table(
    "Streams per engine by policy: 12 on the first, then 12 more (running); 24 closed loop (requests)"
)


@pytest.fixture(scope="module")
def engines(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[list[Engine]]:
    stage = Stage(tmp_path_factory.mktemp("engines"))
    try:
        yield stage.start_engines(3, token_secs=FEW_SECS, answer_tokens=5, record=1)
    finally:
        stage.close()
    SPREAD.show(request.config)


@pytest.fixture(params=TESTED)
def policy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def router(stage: Stage, policy: str) -> Router:
    return stage.start_router(
        f"{{scheduler: {{policy: {policy}}}, manager: {{health-check-interval-secs: 3600,"
        " metrics-interval-secs: 0.5}}"
    )


@pytest.fixture
def healed(engines: list[Engine]) -> Iterator[list[Engine]]:
    yield engines
    for engine in engines:
        engine.heal()


def register(router: Router, *engines: Engine) -> None:
    for engine in engines:
        assert router.register(engine.port).status_code == 200


def some_stream(number: int) -> dict[str, Any]:
    return chat_body(f"question {number * 7919:x}", stream=True, max_tokens=3 + number * 7 % 5)


def within(counts: list[int], factor: float = 2.0) -> bool:
    return max(counts) <= factor * min(counts)


def test_an_engine_that_joins_gets_the_next_streams(
    router: Router, healed: list[Engine], policy: str
) -> None:
    first, second = healed[:2]
    for engine in (first, second):
        engine.fault(cut="first-token", cut_how="stall")
    register(router, first)
    with ExitStack() as clients:

        def stream(number: int) -> None:
            client = clients.enter_context(router.raw())
            text = f"{number * 7919:x} is what this prompt of its own begins with; " * 4
            client.post("/v1/chat/completions", json.dumps(chat_body(text, stream=True)).encode())
            client.read_until(b"\n\n")

        for number in range(STREAMS):
            stream(number)
        assert router.running() == {first.url: STREAMS}
        # Streams that are under way count no tokens any more: this is what made them invisible.
        wait_for(lambda: router.tokens() == {first.url: 0})
        register(router, second)
        for number in range(STREAMS, 2 * STREAMS):
            stream(number)
        running = router.running()
        counts = [running[engine.url] for engine in (first, second)]
        assert sum(counts) == 2 * STREAMS
        SPREAD.put(policy, "two engines", "/".join(map(str, counts)))
        assert policy in BLIND or within(counts), counts


def test_a_closed_loop_with_one_that_joins_late(router: Router, healed: list[Engine], policy: str) -> None:
    register(router, *healed[:2])
    # Of different lengths, so that they do not end together.
    with Crowd(router, CLOSED_LOOP, some_stream) as crowd:
        crowd.wait(2 * CLOSED_LOOP)
        register(router, healed[2])
        measured = crowd.wait(MEASURED)
    assert statuses(crowd.got) == {200: len(crowd.got)}
    served = Counter(got.engine for got in measured)
    counts = [served[engine.name] for engine in healed]
    SPREAD.put(policy, "three, closed loop", "/".join(map(str, counts)))
    assert policy in BLIND or within(counts), counts
    assert policy == "random" or within(counts, 4), counts
