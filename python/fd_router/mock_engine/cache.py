"""The modelled prefix cache: blocks of a prompt, chained, the least recently used dropped first."""

from __future__ import annotations

from collections import OrderedDict

Tokens = str | tuple[int, ...]
"""A prompt's tokens: one a character of a text, or the ids that the client sent."""


class PrefixCache:
    """Which leading blocks of a prompt need no prefill.

    A block's key covers all blocks before it. Blocks of one prompt are touched from the last to the first, so
    that no block outlives one that it depends on.
    """

    def __init__(self, block_size: int, capacity: int) -> None:
        self.block_size = block_size
        self.capacity = capacity
        self.asked_tokens = 0
        self.hit_tokens = 0
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    def keys(self, tokens: Tokens) -> list[int]:
        """Chained keys of the whole blocks of a prompt."""
        keys, previous, size = [], 0, self.block_size
        for start in range(0, len(tokens) - size + 1, size):
            previous = hash((previous, tokens[start : start + size]))
            keys.append(previous)
        return keys

    def match(self, keys: list[int], tokens: int) -> int:
        """How many leading blocks are cached; counts towards `hit_rate` a prompt of `tokens`."""
        matched = next((at for at, key in enumerate(keys) if key not in self._blocks), len(keys))
        self.asked_tokens += tokens
        self.hit_tokens += matched * self.block_size
        return matched

    def store(self, keys: list[int]) -> None:
        """Hold a prompt's blocks, as the most recently used."""
        for key in reversed(keys):
            self._blocks[key] = None
            self._blocks.move_to_end(key)
        while len(self._blocks) > self.capacity:
            self._blocks.popitem(last=False)

    @property
    def hit_rate(self) -> float:
        """Share of all prompt tokens that were cached."""
        return self.hit_tokens / self.asked_tokens if self.asked_tokens else 0.0
