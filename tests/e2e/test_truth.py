"""What engines say that they had cached reaches the router, by every way on which an answer goes."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

from rig.router import chat_body
from rig.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Engine, Router

BLOCK = 64
BLOCKS = 48
STREAM = {"stream": True, "stream_options": {"include_usage": True}}
CONFIG = "scheduler: {policy: least_work, prefill-policy: least_work, decode-policy: least_work}"
"""Each engine holds three of the prompts below."""


class Truth(NamedTuple):
    """Tokens of answers that say what was cached."""

    prompt: float
    predicted: float
    cached: float
    gone: float

    @classmethod
    def of(cls, router: Router) -> Truth:
        kinds = ("prompt", "predicted_cached", "cached", "overpredicted")
        found = router.metrics()
        return cls(*(found.value(f"fd_router_{kind}_tokens_total") for kind in kinds))


def prompt(number: int) -> str:
    """A thousand letters, of which a token of the mock engine has one."""
    return "".join(random.Random(number).choices("abcdefgh ", k=1000))


def send(router: Router, number: int, *, stream: bool) -> int:
    """Ask; the cached tokens that the client is told of."""
    answer = router.post(
        "/v1/chat/completions", chat_body(prompt(number), max_tokens=2, **(STREAM if stream else {}))
    )
    assert answer.status_code == 200, answer.text
    (cached,) = re.findall(r'"cached_tokens":(\d+)', answer.text)
    return int(cached)


def cache_tokens(router: Router) -> dict[str, float]:
    """What each worker's cache is thought to hold."""
    return {
        sample.labels["worker"]: sample.value
        for sample in router.metrics()
        if sample.name == "fd_router_worker_cache_tokens"
    }


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_prediction_and_truth_agree(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]], stream: bool
) -> None:
    router = start_router(CONFIG)
    engines = start_engines(2, router, block_size=BLOCK, cache_blocks=BLOCKS, block_secs=0, token_secs=0)
    router.wait_workers(mixed=2)
    # From the engines' metrics, before there was a request.
    assert cache_tokens(router) == {engine.url: BLOCK * BLOCKS for engine in engines}
    order = random.Random(1)
    cached = sum(send(router, order.randrange(6), stream=stream) for _ in range(60))
    truth = Truth.of(router)
    assert truth.cached == cached
    assert truth.prompt > 60 * 1000
    assert truth.cached > 0.5 * truth.prompt, truth
    # The router predicts whole prompts, an engine holds whole blocks of its own.
    assert abs(truth.predicted - truth.cached) < 0.05 * truth.prompt, truth
    assert truth.gone < 0.05 * truth.prompt, truth


def test_a_cache_that_holds_less_than_it_says_is_found_out(
    start_router: Callable[..., Router], start_engine: Callable[..., Engine]
) -> None:
    router = start_router(CONFIG)
    engine = start_engine(block_size=BLOCK, cache_blocks=BLOCKS, block_secs=0, token_secs=0)
    assert router.register(engine.port, cache_tokens=100_000).status_code == 200
    for _ in range(2):
        for number in range(8):
            send(router, number, stream=False)
    truth = Truth.of(router)
    assert (truth.cached, truth.predicted == truth.gone > 0) == (0, True), truth
    assert cache_tokens(router)[engine.url] < 100_000


def test_a_stream_without_usage_teaches_nothing(
    start_router: Callable[..., Router], start_engine: Callable[..., Engine]
) -> None:
    router = start_router(CONFIG)
    start_engine(router)
    router.wait_workers(mixed=1)
    answer = router.chat(prompt(1), stream=True)
    assert answer.status_code == 200
    assert Truth.of(router) == (0, 0, 0, 0)


def heard_out(router: Router, after: float) -> None:
    """Prefill may end after its decode, and is heard all the same."""
    wait_for(lambda: Truth.of(router).prompt > after, why=lambda: f"{Truth.of(router)}")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_prefill_s_count_is_the_one_of_a_pair(
    start_router: Callable[..., Router], start_engine: Callable[..., Engine], stream: bool
) -> None:
    router = start_router(CONFIG, "--splitwise")
    for role in ("prefill", "decode"):
        start_engine(router, role=role, block_size=BLOCK, block_secs=0, token_secs=0)
    router.wait_workers(prefill=1, decode=1)
    for turn in range(3):
        before = Truth.of(router).prompt
        send(router, 1, stream=stream)
        heard_out(router, after=before)
        truth = Truth.of(router)
        assert truth.prompt < (turn + 2) * 1000, "each answer counts once"
        assert truth.cached == turn * (1000 // BLOCK) * BLOCK
    assert truth.predicted > 0


def test_a_setting_counts_more_than_the_engine_s_metrics(
    start_router: Callable[..., Router], start_engine: Callable[..., Engine]
) -> None:
    router = start_router(CONFIG)
    engine = start_engine(block_size=BLOCK, cache_blocks=BLOCKS)
    assert router.register(engine.port).status_code == 200
    assert cache_tokens(router) == {engine.url: BLOCK * BLOCKS}
    assert "cache_tokens" not in router.registered()["mixed"][0]
    assert router.register(engine.port, cache_tokens=5000).status_code == 200
    assert cache_tokens(router) == {engine.url: 5000}
    assert router.registered()["mixed"][0]["cache_tokens"] == 5000
