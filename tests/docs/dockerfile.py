"""A Dockerfile as a list of instructions, by stage."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Stage:
    """What follows one FROM. `instructions` are (word in capitals, the rest in one line)."""

    image: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        return [rest for each, rest in self.instructions if each == word]

    def copied(self) -> list[tuple[list[str], str]]:
        """(sources, target) of each COPY from the build context."""
        found = []
        for rest in self.all("COPY"):
            words = shlex.split(rest)
            if not words[0].startswith("--"):
                found.append((words[:-1], words[-1]))
        return found


def parse(path: Path) -> list[Stage]:
    """The stages in order. Raises `ValueError` for an instruction before the first FROM."""
    stages: list[Stage] = []
    for line in _lines(path.read_text()):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            match = re.fullmatch(r"(\S+)(?: AS (\S+))?", rest)
            if match is None:
                raise ValueError(line)
            stages.append(Stage(match[1], match[2] or ""))
        elif stages:
            stages[-1].instructions.append((word, rest.strip()))
        else:
            raise ValueError(f"before FROM: {line}")
    return stages


def _lines(text: str) -> list[str]:
    kept = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return re.sub(r"\\\n\s*", "", "\n".join(kept)).splitlines()
