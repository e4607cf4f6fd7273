"""The modelled KV cache: blocks shared by prefix, the least recently used dropped first.

A block is *private* while only its request knows it, *in use* while requests hold it, and *idle* when none does: still
found, and the first to go. These are the rules of the simulator's cache (`rust/simulate/src/engine/cache.rs`), and of
vLLM and FastDeploy; `tests/data/prefix_cache.json` holds the two to each other.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

Tokens = str | tuple[int, ...]
"""A prompt's tokens: one a character of a text, or the ids that the client sent."""


class Hold:
    """The blocks of one request, from its admission to its end."""

    __slots__ = ("found", "keys", "private", "shared")

    def __init__(self, keys: list[int], found: int) -> None:
        self.keys = keys
        self.found = found
        """Leading blocks that were there: they need no prefill."""
        self.shared = keys[:found]
        self.private = len(keys) - found


class PrefixCache:
    """Which leading blocks of a prompt need no prefill. A block's key covers all blocks before it."""

    def __init__(self, block_size: int, capacity: int) -> None:
        self.block_size = block_size
        self.capacity = capacity
        self.asked_tokens = 0
        self.hit_tokens = 0
        self._private = 0
        self._holders = Counter[int]()
        self._idle: OrderedDict[int, None] = OrderedDict()
        """Oldest first."""

    def __len__(self) -> int:
        return len(self._idle) + len(self._holders) + self._private

    @property
    def in_use(self) -> int:
        """Blocks that cannot be dropped."""
        return len(self._holders) + self._private

    def keys(self, tokens: Tokens) -> list[int]:
        """Chained keys of the whole blocks of a prompt."""
        keys, previous, size = [], 0, self.block_size
        for start in range(0, len(tokens) - size + 1, size):
            previous = hash((previous, tokens[start : start + size]))
            keys.append(previous)
        return keys

    def admit(self, keys: list[int], tokens: int) -> Hold | None:
        """Hold what is there of a prompt of `tokens`, and make room for the rest; None where there is no such room."""
        # The last token is always computed, as its logits are wanted.
        usable = keys[: max(0, tokens - 1) // self.block_size]
        found = next((at for at, key in enumerate(usable) if not self._has(key)), len(usable))
        hold = Hold(keys, found)
        taken = sum(key in self._idle for key in hold.shared)
        if hold.private > self.capacity - self.in_use - taken:
            return None
        for key in hold.shared:
            self._idle.pop(key, None)
            self._holders[key] += 1
        while len(self) + hold.private > self.capacity:
            self._idle.popitem(last=False)
        self._private += hold.private
        self.asked_tokens += tokens
        self.hit_tokens += found * self.block_size
        return hold

    def clear(self) -> None:
        """Forget what no request is using."""
        self._idle.clear()

    def publish(self, hold: Hold) -> None:
        """A prompt is computed: others find its blocks from now on. A second copy of a block stays private."""
        new = [key for key in hold.keys[hold.found :] if not self._has(key)]
        self._holders.update(new)
        self._private -= len(new)
        hold.private -= len(new)
        hold.shared = hold.shared + new

    def release(self, hold: Hold) -> None:
        """Take a request's blocks back, the last one first: the tail of a prefix goes before its root."""
        self._private -= hold.private
        for key in reversed(hold.shared):
            self._holders[key] -= 1
            if not self._holders[key]:
                del self._holders[key]
                self._idle[key] = None

    def _has(self, key: int) -> bool:
        return key in self._holders or key in self._idle

    @property
    def hit_rate(self) -> float:
        """Share of all prompt tokens that were cached."""
        return self.hit_tokens / self.asked_tokens if self.asked_tokens else 0.0
