"""Prefix-cache aware choice: cases 78 to 88 and 107."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from fd_router._core import Request
from parity.conftest import NO_ROUNDS, lend
from parity.scene import (
    COMPLETIONS,
    Held,
    Pair,
    add_pair,
    add_worker,
    at_once,
    by_url,
    register,
    wait_running,
)
from rig import Peer, RawWorker, Router, Stage, core, reply
from rig.wait import LIMIT, wait_for

Background = Callable[..., Future[Any]]
SCORED = r"cache-aware prefill: final strategy: cache_aware_scoring, selected={selected}, "
LOADS = r"loads=map\[[^\]]*\], "
TS = r"\. ts_ms=\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}$"


def add_prefills(stage: Stage, router: Router, number: int) -> list[RawWorker]:
    """Prefill workers in the router's order, and a decode worker."""
    prefills = sorted((add_worker(stage, router, role="prefill") for _ in range(number)), key=by_url)
    add_worker(stage, router, role="decode")
    return prefills


def ask(router: Router, prompt: str, **fields: Any) -> str:
    """The prefill worker that a prompt went to."""
    answer = router.post(COMPLETIONS, {"prompt": prompt, **fields})
    assert answer.status_code == 200, answer.text
    url: str = answer.headers["x-router-prefill-url"]
    return url


def expect_scored(router: Router, selected: str, hits: str) -> None:
    """Wait for the line of a scored choice with these hit ratios, as in `url:100`; then forget the log."""
    router.wait_log(SCORED.format(selected=selected) + LOADS + rf"hitRatios=map\[{hits}\]{TS}")
    router.forget_log()


def test_case_078_the_same_prompt_twice(cached: Router, stage: Stage) -> None:
    add_prefills(stage, cached, 2)
    prompt = "the same forty characters, twice in turn"
    assert len(prompt) == 40
    first = ask(cached, prompt)
    expect_scored(cached, first, "")
    assert ask(cached, prompt) == first
    expect_scored(cached, first, f"{first}:100")


def test_case_079_first_prompt(cached: Router, stage: Stage) -> None:
    first, second = (worker.url for worker in add_prefills(stage, cached, 2))
    assert ask(cached, "a prompt that nobody has seen") == first
    cached.wait_log(
        SCORED.format(selected=first) + rf"loads=map\[{first}:0 {second}:0\], hitRatios=map\[\]{TS}"
    )


def test_case_080_shorter_than_a_block(cached: Router, stage: Stage) -> None:
    first = add_prefills(stage, cached, 2)[0].url
    for _ in range(2):
        assert ask(cached, "abc") == first
        expect_scored(cached, first, "")


class Busy:
    """Requests that stay under way on a pair until `let_go`."""

    def __init__(self, stage: Stage, router: Router, in_background: Background) -> None:
        self._held = Held()
        self._router = router
        self._in_background = in_background
        self._under_way: list[Future[Any]] = []
        self.pair: Pair = add_pair(stage, router, self._held, self._held)

    def add(self, prompt: str) -> None:
        """One more, which has reached the workers."""
        self._under_way.append(self._in_background(self._router.post, COMPLETIONS, {"prompt": prompt}))
        self.pair.prefill.wait_hits(len(self._under_way))
        wait_running(self._router, **{self.pair.prefill.url: len(self._under_way)})

    def let_go(self) -> None:
        self._held.let_go()
        assert [future.result().status_code for future in self._under_way] == [200] * len(self._under_way)


def add_idle_pair(stage: Stage, router: Router) -> RawWorker:
    """Another pair; returns its prefill worker."""
    return add_pair(stage, router).prefill


def test_case_081_imbalanced(cached: Router, stage: Stage, in_background: Background) -> None:
    busy = Busy(stage, cached, in_background)
    for number in range(3):
        busy.add(f"prompt {number} of those under way")
    idle = add_idle_pair(stage, cached).url
    assert ask(cached, "prompt 0 of those under way") == idle
    loads = " ".join(sorted((f"{busy.pair.prefill.url}:3", f"{idle}:0")))
    cached.wait_log(
        "cache-aware prefill: final strategy: process_tokens, reason: load imbalanced, "
        rf"loads=map\[{loads}\]{TS}"
    )
    busy.let_go()


def test_case_082_not_imbalanced(cached: Router, stage: Stage, in_background: Background) -> None:
    busy = Busy(stage, cached, in_background)
    busy.add("one prompt under way")
    idle = add_idle_pair(stage, cached).url
    cached.forget_log()
    assert ask(cached, "another prompt") == idle
    expect_scored(cached, idle, "")
    busy.let_go()


def test_case_083_empty_prompt(cached: Router, stage: Stage) -> None:
    add_prefills(stage, cached, 2)
    ask(cached, "")
    cached.wait_log(
        "cache-aware prefill: final strategy: process_tokens, "
        rf"reason: tokenize failed: empty prompt for tokenizer{TS}"
    )


class TokenizerScene:
    """A tokenizer service and a PD router that asks it."""

    def __init__(self, stage: Stage) -> None:
        self.service = stage.raw_worker(self.token_a_word)
        self.router = stage.start_router(
            "scheduler: {prefill-policy: cache_aware, cache-block-size: 2, tokenizer-timeout-secs: 1,"
            f" tokenizer-url: '127.0.0.1:{self.service.port}'}}\n{NO_ROUNDS}",
            "--splitwise",
        )

    @staticmethod
    def token_a_word(peer: Peer) -> bytes:
        return reply(
            json.dumps({"input_ids": [len(word) for word in json.loads(peer.body)["text"].split()]}).encode()
        )


@pytest.fixture(scope="module")
def shared_tokenized(shared_stage: Stage) -> TokenizerScene:
    return TokenizerScene(shared_stage)


@pytest.fixture
def tokenized(stage: Stage, shared_tokenized: TokenizerScene) -> Iterator[TokenizerScene]:
    shared_tokenized.service.hits.clear()
    with lend(shared_tokenized.router):
        yield shared_tokenized
    shared_tokenized.service.answer = TokenizerScene.token_a_word


def test_case_084_tokenizer(tokenized: TokenizerScene, stage: Stage) -> None:
    """A token is a word's length here, so other words of the same lengths are the same prompt."""
    first = add_prefills(stage, tokenized.router, 2)[0].url
    ask(tokenized.router, "one three five 好")
    expect_scored(tokenized.router, first, "")
    (hit,) = tokenized.service.hits
    text = "one three five 好"
    assert (hit.method, hit.path) == ("POST", "/tokenize")
    assert hit.header("content-type") == ["application/json"]
    assert json.loads(hit.body) == {"text": text, "prompt": text, "message": text}
    ask(tokenized.router, "two seven nine x")
    expect_scored(tokenized.router, first, f"{first}:100")


def test_case_085_tokenizer_fails(tokenized: TokenizerScene, stage: Stage) -> None:
    router, service = tokenized.router, tokenized.service
    add_prefills(stage, router, 2)
    over = threading.Event()

    def hang(peer: Peer) -> None:
        over.wait(LIMIT)
        peer.close()

    for answer in (
        lambda peer: reply(b"{}", 500),
        hang,
        lambda peer: reply(b'{"input_ids":[]}'),
        lambda peer: reply(b"nonsense"),
    ):
        service.answer = answer
        selected = ask(router, "some words of a prompt")
        router.wait_log(r"^\[WARN\] .* cache-aware prefill: tokenizer failed, fallback to char tokens: .")
        router.wait_log(SCORED.format(selected=selected))
        # As long as it fails it is told of once, and again every five minutes.
        service.answer = TokenizerScene.token_a_word
        ask(router, "words of another one")
        router.wait_log(r"^\[INFO\] .*\[fd-router\] over: the tokenizer fails; ")
        router.forget_log()
    over.set()


def test_case_086_half_of_a_prompt(cached: Router, stage: Stage) -> None:
    add_prefills(stage, cached, 2)
    half = "forty characters that two prompts share."
    assert len(half) == 40
    first = ask(cached, half + "and forty that only the first one has ..")
    expect_scored(cached, first, "")
    assert ask(cached, half + "........................................") == first
    expect_scored(cached, first, f"{first}:50")


def test_case_087_both_are_credited(cached: Router, stage: Stage, in_background: Background) -> None:
    """A busy first worker makes the second one the better choice for A-B-X, and neither a match for A-B-Y alone."""
    busy = Busy(stage, cached, in_background)
    busy.add("aaaabbbbccccdddd")
    second = add_idle_pair(stage, cached).url
    cached.forget_log()
    assert ask(cached, "aaaabbbbxxxx") == second
    expect_scored(cached, second, f"{busy.pair.prefill.url}:66")
    selected = ask(cached, "aaaabbbbyyyy")
    assert selected == second
    hits = " ".join(f"{url}:66" for url in sorted((busy.pair.prefill.url, second)))
    expect_scored(cached, second, hits)
    busy.let_go()


def test_case_088_many_prefixes(stage: Stage) -> None:
    """250,000 prefixes, in 500 prompts of 500 blocks each, through a tree that has room for a part of them."""
    room = 1 << 20
    router = stage.start_router(
        f"scheduler: {{policy: cache_aware, cache-block-size: 1, cache-max-memory-mb: {room >> 20}}}\n"
        + NO_ROUNDS
    )
    add_worker(stage, router)
    for number in range(500):
        answer = router.post(COMPLETIONS, {"prompt": f"{number:x}." + "x" * (500 - len(f"{number:x}."))})
        assert answer.status_code == 200
    metrics = router.metrics()
    assert metrics.value("fd_router_tree_bytes") <= room
    assert (
        metrics.value("fd_router_tree_blocks") + metrics.value("fd_router_tree_evicted_blocks_total")
        >= 240_000
    )
    assert router.numbers()["mixed"] == 1


def test_case_088_many_prompts() -> None:
    """250,000 prompts that share nothing, without the wire; the Go router hangs at its 200,000th."""
    room = 8 << 20
    scheduler = core.scheduler({"mixed": "cache_aware"}, cache_block_size=4, cache_max_memory_mb=room >> 20)
    scheduler.add("http://127.0.0.1:1", "mixed")
    for number in range(250_000):
        request = Request.scan(b'{"prompt":"%07d!"}' % number, False)
        lease = core.book(scheduler, "mixed", request)
        lease.answered()
        lease.release()
    tree = scheduler.tree()
    assert tree.bytes <= room
    assert 0 < tree.blocks < 500_000
    assert tree.evicted > 0


def test_case_107_sessions(stage: Stage, cached: Router) -> None:
    """Session metrics count from the start of the router, `[stats]` from its last line."""
    add_prefills(stage, cached, 2)
    before = cached.metrics()
    prompt = "forty characters are said once and again"
    first = ask(cached, prompt, session_id="s107")
    # Prefill may end after decode; what is still booked there counts as load.
    wait_for(lambda: not any(cached.running().values()))
    assert ask(cached, prompt, session_id="s107") == first
    after = cached.metrics()
    for name, more in (("router_cache_request_total", 2), ("router_cache_hit_total", 1)):
        assert after.value(name) - before.value(name) == more
    # A line may fall between the two requests; then their sum is told in two.
    counted = [0, 0]
    while counted != [1, 2]:
        line = cached.wait_log(r"cache_hit_rate=(\d+\.\d\d)% \(hits=([01])/total=([12])\)$")
        hits, total = int(line[2]), int(line[3])
        assert line[1] == f"{100 * hits / total:.2f}"
        counted = [counted[0] + hits, counted[1] + total]
        assert counted[0] <= 1
        assert counted[1] <= 2
        cached.log_from += line.end()
    cached.wait_log(r"cache_hit_rate=0\.00% \(hits=0/total=0\)$")


def test_an_engine_that_comes_back_is_cold(cached: Router, stage: Stage) -> None:
    """The Go router credits it with what it had before."""
    worker = stage.raw_worker(at_once)
    register(cached, worker, "prefill")
    add_worker(stage, cached, role="decode")
    ask(cached, "a prompt of some blocks")
    expect_scored(cached, worker.url, "")
    assert cached.post("/unregister", {"url": worker.url}).status_code == 200
    register(cached, worker, "prefill")
    ask(cached, "a prompt of some blocks")
    expect_scored(cached, worker.url, "")
