"""The Dockerfile's instructions by stage."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "config" / "docker" / "Dockerfile"


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
        copies = [shlex.split(rest) for rest in self.all("COPY")]
        return [(words[:-1], words[-1]) for words in copies if not words[0].startswith("--")]


def stages() -> list[Stage]:
    """The stages in order."""
    found: list[Stage] = []
    for each in DockerfileParser(str(DOCKERFILE)).structure:
        word, rest = each["instruction"], each["value"]
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            found.append(Stage(image, name))
        elif word != "COMMENT":
            found[-1].instructions.append((word, rest))
    return found
