"""Makes `tests/data/prefix_cache.json`: `python tests/rig/prefix_cache.py`.

What a cache of blocks must find, for the two models of one: the simulator's (a test of
`rust/simulate/src/engine/cache.rs` reads the file) and the mock engine's (`tests/unit/test_mock_engine_cache.py`). The
first cases are worked out by hand; the others are by chance, with the answers of `Naive`, which has the same rules in
as few words as possible.

A case is `capacity` and `block_size` in blocks and tokens, `steps`, and `found`: for each start in turn, the leading
blocks that are there, or null where there is no room. A step is `[name, "start", blocks, tokens]`, where `tokens` is
the prompt's length, `[name, "computed"]` or `[name, "end"]`; a request without room has no further steps.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

PATH = Path(__file__).resolve().parents[1] / "data" / "prefix_cache.json"
BLOCK = 4
BY_CHANCE = 40
STEPS = 60


class Model(Protocol):
    """What plays a case."""

    def start(self, name: str, blocks: list[int], tokens: int) -> int | None: ...
    def computed(self, name: str) -> None: ...
    def end(self, name: str) -> None: ...


@dataclass
class Asked:
    """A request of `Naive`: its ids, and those that it holds."""

    blocks: list[int]
    shared: list[int]


class Naive:
    """The rules in lists.

    A prompt finds its leading blocks that are there, but for a last one that would leave no token to compute. It needs
    room for all its other blocks, and drops idle ones for that, those first that were given back first. Once it is
    computed, others find its blocks, but for those that were there already. At its end it gives its blocks back, the
    last one first.
    """

    def __init__(self, block_size: int, capacity: int) -> None:
        self.block_size, self.capacity = block_size, capacity
        self.asked: dict[str, Asked] = {}
        self.idle: list[int] = []

    def start(self, name: str, blocks: list[int], tokens: int) -> int | None:
        held = {block for asked in self.asked.values() for block in asked.shared}
        usable = blocks[: (tokens - 1) // self.block_size]
        found = 0
        while found < len(usable) and usable[found] in {*held, *self.idle}:
            found += 1
        idle = [block for block in self.idle if block not in blocks[:found]]
        private = sum(len(asked.blocks) - len(asked.shared) for asked in self.asked.values())
        room = self.capacity - len(held | set(blocks[:found])) - private - (len(blocks) - found)
        if room < 0:
            return None
        self.idle = idle[max(0, len(idle) - room) :]
        self.asked[name] = Asked(blocks, blocks[:found])
        return found

    def computed(self, name: str) -> None:
        there = {block for asked in self.asked.values() for block in asked.shared} | set(self.idle)
        asked = self.asked[name]
        asked.shared = [block for block in asked.blocks if block in asked.shared or block not in there]

    def end(self, name: str) -> None:
        ended = self.asked.pop(name)
        held = {block for asked in self.asked.values() for block in asked.shared}
        self.idle += [block for block in reversed(ended.shared) if block not in held]


def play(case: dict[str, Any], model: Model) -> list[int | None]:
    """What the model finds, start by start."""
    found = []
    for name, step, *more in case["steps"]:
        if step == "start":
            found.append(model.start(name, *more))
        elif step == "computed":
            model.computed(name)
        else:
            model.end(name)
    return found


def cases() -> list[dict[str, Any]]:
    """The cases of the file."""
    read: list[dict[str, Any]] = json.loads(PATH.read_text())
    return read


def served(name: str, blocks: list[int], tokens: int) -> list[list[Any]]:
    """A request that is over before the next one starts."""
    return [[name, "start", blocks, tokens], [name, "computed"], [name, "end"]]


def by_hand() -> list[dict[str, Any]]:
    """Cases small enough to be worked out; `why` does."""
    return [
        {
            "name": "one token is computed",
            "why": "8 tokens are two blocks. The second is there and not usable: nothing would be left to compute. "
            "With a ninth token both are.",
            "capacity": 4,
            "steps": [*served("a", [1, 2], 8), *served("b", [1, 2], 8), *served("c", [1, 2], 9)],
            "found": [0, 1, 2],
        },
        {
            "name": "a tail goes before its root",
            "why": "a leaves 3, 2, 1, oldest first. b needs two blocks and one is free, so 3 goes: 1 and 2 are there.",
            "capacity": 4,
            "steps": [*served("a", [1, 2, 3], 13), *served("b", [7, 8], 9), *served("c", [1, 2, 3], 13)],
            "found": [0, 0, 2],
        },
        {
            "name": "a hit makes young",
            "why": "1, 2, 3 fill the cache, then 1 is used, so 4 takes the place of 2.",
            "capacity": 3,
            "steps": [
                *(step for block in (1, 2, 3, 1, 4) for step in served(f"a{block}", [block], 5)),
                *served("b", [1], 5),
                *served("c", [2], 5),
            ],
            "found": [0, 0, 0, 1, 0, 1, 0],
        },
        {
            "name": "what runs keeps its blocks",
            "why": "a runs and holds 1 and 2, the oldest. b takes the third block, c the same one from b: 1 and 2 are "
            "there for d, and there is no room for the two blocks of e until a and d have ended.",
            "capacity": 3,
            "steps": [
                ["a", "start", [1, 2], 9],
                ["a", "computed"],
                *served("b", [7], 5),
                *served("c", [8], 5),
                ["d", "start", [1, 2], 9],
                ["e", "start", [5, 6], 9],
                ["a", "end"],
                ["e", "start", [5, 6], 9],
                ["d", "computed"],
                ["d", "end"],
                ["e", "start", [5, 6], 9],
                ["f", "start", [1, 2], 9],
            ],
            "found": [0, 0, 0, 2, None, None, 0, None],
        },
        {
            "name": "not found before it is computed",
            "why": "b starts while a computes, so it computes 1 too, and its copy is its own: gone with it. 1 and 2 of "
            "a stay, and 9 fits beside them only once b is over.",
            "capacity": 3,
            "steps": [
                ["a", "start", [1, 2], 9],
                ["b", "start", [1], 5],
                ["a", "computed"],
                ["b", "computed"],
                ["c", "start", [9], 5],
                ["b", "end"],
                ["c", "start", [9], 5],
                ["a", "end"],
                ["d", "start", [1, 2], 9],
            ],
            "found": [0, 0, None, 0, 2],
        },
        {
            "name": "too large for the cache",
            "why": "Three blocks do not fit into two, and asking for them drops nothing.",
            "capacity": 2,
            "steps": [*served("a", [1, 2], 9), ["b", "start", [7, 8, 9], 13], *served("c", [1, 2], 9)],
            "found": [0, None, 2],
        },
    ]


def by_chance(seed: int) -> dict[str, Any]:
    """Up to five requests at once, of a few families of prompts, in a cache from tight to roomy."""
    chance = random.Random(seed)
    case: dict[str, Any] = {"name": f"by chance {seed}", "block_size": BLOCK}
    case["capacity"] = chance.randint(4, 16)
    model = Naive(BLOCK, case["capacity"])
    case["steps"], case["found"] = [], []
    running: dict[str, str] = {}
    for number in range(STEPS):
        step: list[Any]
        if running and (len(running) == 5 or chance.random() < 0.6):
            name = chance.choice(list(running))
            step = [name, running[name]]
            if running[name] == "computed":
                model.computed(name)
                running[name] = "end"
            else:
                model.end(name)
                del running[name]
        else:
            name = f"r{number}"
            length, shared = chance.randint(0, 6), chance.randint(1, 5)
            family, own = chance.randint(1, 3), chance.randint(1, 9)
            # An id stands for all before it, too.
            branch = (family * 10 + shared) * 10 + own
            blocks = [(family if at < shared else branch) * 10 + at for at in range(length)]
            tokens = max(1, length * BLOCK + chance.randrange(BLOCK))
            step = [name, "start", blocks, tokens]
            found = model.start(name, blocks, tokens)
            case["found"].append(found)
            if found is not None:
                running[name] = "computed"
        case["steps"].append(step)
    return case


def text() -> str:
    """The file: a case a line."""
    made = [{"block_size": BLOCK, **case} for case in by_hand()] + [
        by_chance(seed) for seed in range(BY_CHANCE)
    ]
    return "[\n" + ",\n".join(json.dumps(case) for case in made) + "\n]\n"


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(text())
