"""The schema and its values as text: effective configuration, example file, tables of the README."""

from __future__ import annotations

from dataclasses import fields
from hashlib import sha256
from typing import Any

import yaml

from fd_router.config.schema import SECTIONS, Config, key_of, settings_of
from fd_router.config.setting import Secret, Setting, plain


def effective_yaml(config: Config) -> str:
    """Every key with its value, as YAML that loads to the same `Config`."""
    document: dict[str, dict[str, Any]] = {}
    for name in SECTIONS:
        section = getattr(config, name)
        document[name] = {key_of(entry): _plain(getattr(section, entry.name)) for entry in fields(section)}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1_000)


def fingerprint(config: Config) -> str:
    """16 hexadecimal digits that tell two effective configurations apart, but for keys that stand in the file."""
    return sha256(effective_yaml(config).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Keys by where they are kept; one that stood in the file is hidden, by a text that is no key."""
    if isinstance(value, Secret):
        return str(value) if value else ""
    return list(dict.fromkeys(map(_plain, value))) if isinstance(value, tuple) else value


def example_yaml() -> str:
    """The example file: every key with its default, its meaning and what is accepted."""
    lines = [
        "# Every key of fd-router with its default: a key that is left out or empty has this value.",
        "# Unknown keys are reported and ignored. `fd-router --check --config_path FILE` shows the effect.",
        "# A reload (SIGHUP, or POST /reload) takes over what is marked live; the rest waits for a restart.",
    ]
    for name, section in SECTIONS.items():
        lines += ["", f"{name}:"]
        for key, setting in settings_of(section).items():
            lines += [
                f"  # {setting.meaning} ({_range(setting)}){' live' if setting.live else ''}",
                f"  {key}: {_literal(setting)}",
            ]
    return "\n".join(lines) + "\n"


def markdown_table(section: str) -> str:
    """The table of a section (`server`, `manager`, ...) for the README."""
    lines = ["| Key | Type | Default | Accepted | Reload | Meaning |", "|---|---|---|---|---|---|"]
    for key, setting in settings_of(SECTIONS[section]).items():
        default = "required" if setting.default is None else f"`{_literal(setting)}`"
        cells = [
            f"`{section}.{key}`",
            setting.kind.name,
            default,
            _range(setting),
            "live" if setting.live else "restart",
            setting.meaning,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


EXAMPLE_PORT = 8080
"""The only required key has no default; the example needs some value."""


def _range(setting: Setting) -> str:
    return f"{setting.kind.accepts}{f', in {setting.unit}' if setting.unit else ''}"


def _literal(setting: Setting) -> str:
    value = EXAMPLE_PORT if setting.default is None else setting.default
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return plain(value)
    if isinstance(value, tuple):
        return f"[{', '.join(str(item) for item in value)}]"
    return str(value) if value else '""'
