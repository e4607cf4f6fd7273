"""What a new configuration changes in a router that runs."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from fd_router.config.schema import SECTIONS, Config, key_of


@dataclass(frozen=True, slots=True)
class Changes:
    """The outcome of a reload."""

    config: Config
    """In force from now on: the old one with the new values of live keys."""
    live: tuple[str, ...]
    """Keys with a new value that is in force now, by their paths."""
    restart: tuple[str, ...]
    """Keys with a new value that waits for a restart."""


def changes(before: Config, wanted: Config) -> Changes:
    """What becomes of a configuration in force where another is wanted."""
    live: list[str] = []
    restart: list[str] = []
    taken: dict[str, Any] = {}
    for name, section in SECTIONS.items():
        old, new = getattr(before, name), getattr(wanted, name)
        values = {}
        for entry in fields(section):
            value = getattr(new, entry.name)
            if value == getattr(old, entry.name):
                continue
            is_live = entry.metadata["setting"].live
            (live if is_live else restart).append(f"{name}.{key_of(entry)}")
            if is_live:
                values[entry.name] = value
        taken[name] = replace(old, **values)
    return Changes(Config(**taken), tuple(live), tuple(restart))
