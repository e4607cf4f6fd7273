"""The mock engine's cache, held to what the simulator's is held to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fd_router.mock_engine.cache import Hold, PrefixCache
from rig.prefix_cache import PATH, Naive, cases, play, text

PROMPTS = st.lists(st.text("ab", max_size=24), max_size=12)


def serve(cache: PrefixCache, prompt: str) -> int:
    """Compute a prompt and give it back; how many blocks were found."""
    hold = cache.admit(cache.keys(prompt), len(prompt))
    assert hold is not None
    cache.publish(hold)
    cache.release(hold)
    assert cache.in_use == 0
    return hold.found


class Modelled:
    """The mock engine's cache as the cases drive it."""

    def __init__(self, block_size: int, capacity: int) -> None:
        self.cache = PrefixCache(block_size, capacity)
        self.holds: dict[str, Hold] = {}

    def start(self, name: str, blocks: list[int], tokens: int) -> int | None:
        hold = self.cache.admit(blocks, tokens)
        if hold is None:
            return None
        self.holds[name] = hold
        return hold.found

    def computed(self, name: str) -> None:
        self.cache.publish(self.holds[name])

    def end(self, name: str) -> None:
        self.cache.release(self.holds.pop(name))


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["name"])
def test_the_case_is_found_as_written(case: dict[str, Any]) -> None:
    assert play(case, Modelled(case["block_size"], case["capacity"])) == case["found"]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["name"])
def test_the_case_follows_from_the_rules(case: dict[str, Any]) -> None:
    assert play(case, Naive(case["block_size"], case["capacity"])) == case["found"]


def test_the_file_is_the_one_that_is_made() -> None:
    assert PATH.read_text() == text(), "run `python tests/rig/prefix_cache.py`"


@given(PROMPTS)
def test_large_cache_knows_the_longest_prefix_seen(prompts: list[str]) -> None:
    cache, seen = PrefixCache(4, 10_000), set[str]()
    for prompt in prompts:
        whole = [prompt[: 4 * (n + 1)] for n in range(len(prompt) // 4)]
        # The last token is always computed.
        assert serve(cache, prompt) == sum(prefix in seen for prefix in whole if prefix != prompt)
        seen.update(whole)


@given(PROMPTS, st.integers(6, 9))
def test_small_cache_keeps_its_capacity_and_the_newest(prompts: list[str], capacity: int) -> None:
    cache = PrefixCache(4, capacity)
    for prompt in prompts:
        serve(cache, prompt)
        assert len(cache) <= capacity
        assert serve(cache, prompt) == max(0, len(prompt) - 1) // 4


def test_token_ids_and_text_are_cached_alike() -> None:
    cache = PrefixCache(2, 10)
    for tokens, found in (((1, 2, 3, 4, 5), 0), ((1, 2, 9, 9), 1)):
        keys = cache.keys(tokens)
        assert len(keys) == 2
        hold = cache.admit(keys, len(tokens))
        assert hold is not None
        assert hold.found == found
        cache.publish(hold)
    assert cache.hit_rate == 2 / 9
