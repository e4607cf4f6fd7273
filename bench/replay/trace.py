"""Requests of a Mooncake trace, and text for their prompts."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HASHED = 512
"""Tokens for which the trace has one id."""
STEP_SECS = 3.0
"""Between two times of the conversation trace."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: when it is sent, in seconds of the trace, its prefix ids, and its tokens."""

    at: float
    ids: tuple[int, ...]
    input_tokens: int
    output_tokens: int

    def prompt(self) -> str:
        """A text of as many characters as the prompt has tokens, which is what the mock engine makes of it."""
        return "".join(map(block_text, self.ids))[: self.input_tokens]

    def body(self) -> bytes:
        """The body of `/v1/completions`: streamed, with usage."""
        fields = {"model": "mock", "prompt": self.prompt(), "max_tokens": self.output_tokens}
        return json.dumps({**fields, "stream": True, "stream_options": {"include_usage": True}}).encode()


def block_text(block: int) -> str:
    """The text of one id: equal ids have equal texts, others others."""
    return hashlib.shake_128(str(block).encode()).hexdigest(HASHED // 2)


def read(path: Path, count: int) -> list[Asked]:
    """The first `count` requests. Raises `OSError`."""
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for line in islice(lines, count)]
    return [
        Asked(
            row["timestamp"] / 1e3, tuple(row["hash_ids"]), row["input_length"], max(1, row["output_length"])
        )
        for row in rows
    ]


def spread(requests: Sequence[Asked]) -> list[Asked]:
    """Each at some time within its step of `STEP_SECS`, the same in every run; in the order of their times.

    As recorded ten come at one moment. Of those no router can know what another one does with its own.
    """
    chance = random.Random(1)
    return sorted(
        (replace(each, at=each.at + chance.random() * STEP_SECS) for each in requests),
        key=lambda each: each.at,
    )
