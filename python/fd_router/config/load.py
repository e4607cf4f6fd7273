"""From a YAML file and the flags to a `Config`, or to an error: which key, what was found, what is accepted.

What upstream shrugs off without harm (unknown keys, unknown policy and level names) starts here too, but
comes with a `Notice`. What would misbehave later is refused, all of it in one go.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Literal, cast

import yaml

from fd_router.config.conflicts import conflicts
from fd_router.config.document import compose, type_of
from fd_router.config.schema import SECTIONS, Config, ServerConfig, settings_of
from fd_router.config.setting import Choice, Found, Setting, Type, shown
from fd_router.errors import ConfigError

MAX_FILE_BYTES = 1 << 20
"""A configuration is a page of text; what is larger is another file given by mistake."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something in the configuration that the operator should know; the router starts all the same."""

    level: Literal["WARN", "ERROR"]
    message: str


def load_config(path: str | None, *, port: str | None, splitwise: bool) -> tuple[Config, list[Notice]]:
    """Read the file at `path` (None or empty: none) and lay the flags over it.

    `port` goes before `server.port`; `splitwise` can only switch PD mode on. Raises `ConfigError`, whose
    message follows `Failed to load config: `.
    """
    reading = _Reading()
    data = _read_file(path) if path else b""
    if path and not data.strip():
        # Whoever writes it may be at it just now: a reload must not take keys and limits away for that.
        reading.notices.append(Notice("ERROR", f"{path} is empty; continuing with the defaults"))
    sections = reading.document(data)
    server = sections.pop("server", {})
    if port:
        reading.take(server, "port", "--port", settings_of(ServerConfig)["port"], Found("text", port))
    if reading.problems:
        raise ConfigError(f"failed to parse config: {'; '.join(reading.problems)}")
    if "port" not in server:
        raise ConfigError("failed to set router listen port")
    if splitwise:
        server["splitwise"] = True
    server.setdefault("state_path", _state_directory())
    rest = {name: SECTIONS[name](**values) for name, values in sections.items()}
    config = replace(Config(ServerConfig(**server)), **cast("dict[str, Any]", rest))
    problems = list(conflicts(config))
    if problems:
        raise ConfigError(f"failed to parse config: {'; '.join(problems)}")
    return config, reading.notices


def _state_directory() -> str:
    """What systemd gives a service for its state, the first of several, or a container its program."""
    return os.environ.get("STATE_DIRECTORY", "").partition(":")[0]


def _read_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"failed to read config file: open {path}: {reason}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"failed to read config file: {path} is larger than {MAX_FILE_BYTES} bytes")
    return data


@dataclass(slots=True)
class _Reading:
    """One pass over a document; collects what is wrong instead of stopping at the first."""

    problems: list[str] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def document(self, data: bytes) -> dict[str, dict[str, Any]]:
        """Values by section and attribute; keys that were not given are absent."""
        try:
            root = compose(data)
        except ConfigError as error:
            raise ConfigError(f"failed to parse config: {error}") from error
        values: dict[str, dict[str, Any]] = {}
        for name, node in self._members(root, "the file"):
            if name in SECTIONS:
                values[name] = self._section(name, node)
            else:
                self._unknown(name, node, list(SECTIONS))
        return values

    def take(
        self, values: dict[str, Any], attribute: str, where: str, setting: Setting, found: Found
    ) -> None:
        """Put a value into `values`, or note why it cannot be used. Null or an empty text is the default."""
        if found.type == "null" or (found.type == "text" and not found.text):
            return
        try:
            value = setting.kind.read(found)
        except ValueError as error:
            self.problems.append(f"{where}: {error}")
            return
        fallback = setting.kind.fallback if isinstance(setting.kind, Choice) else None
        shown_as = "a value that is not shown" if setting.secret else str(found)
        message = f"{where}: found {shown_as}, accepted: {setting.kind.accepts}"
        if value is not None:
            values[attribute] = value
        elif fallback is not None and found.type not in ("list", "mapping"):
            values[attribute] = fallback
            self.notices.append(Notice("ERROR", f"{message}; continuing with {fallback}"))
        else:
            self.problems.append(message)

    def _section(self, section: str, node: yaml.Node) -> dict[str, Any]:
        settings = settings_of(SECTIONS[section])
        values: dict[str, Any] = {}
        for key, value in self._members(node, section):
            path = f"{section}.{key}"
            if key in settings:
                where = f"{path}{_line(value)}"
                self.take(values, key.replace("-", "_"), where, settings[key], _found(value))
            else:
                self._unknown(path, value, [f"{section}.{known}" for known in settings])
        return values

    def _members(self, node: yaml.Node | None, where: str) -> list[tuple[str, yaml.Node]]:
        if node is None or type_of(node) == "null":
            return []
        if isinstance(node, yaml.MappingNode):
            return [(_name(key), value) for key, value in node.value]
        self.problems.append(
            f"{where}{_line(node)}: found {_found(node)}, accepted: mapping of keys to values"
        )
        return []

    def _unknown(self, path: str, node: yaml.Node, known: list[str]) -> None:
        close = get_close_matches(path.replace("_", "-"), known, n=1, cutoff=0.8)
        hint = f"; did you mean {close[0]}?" if close else ""
        self.notices.append(Notice("WARN", f"{path}{_line(node)}: unknown key, ignored{hint}"))


_TYPES: dict[str, Type] = {"null": "null", "bool": "bool", "int": "int", "float": "float"}


def _found(node: yaml.Node) -> Found:
    if isinstance(node, yaml.ScalarNode):
        return Found(_TYPES.get(type_of(node), "text"), node.value)
    if isinstance(node, yaml.SequenceNode):
        return Found("list", items=tuple(_found(item) for item in node.value))
    return Found("mapping")


def _name(key: yaml.Node) -> str:
    return shown(key.value) if isinstance(key, yaml.ScalarNode) else f"({_found(key)})"


def _line(node: yaml.Node) -> str:
    return f" (line {node.start_mark.line + 1})"
