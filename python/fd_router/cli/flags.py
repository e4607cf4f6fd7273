"""The command line by the rules of Go's `flag` package, which scripts around the Go router rely on.

One dash or two; `-name value` or `-name=value`; a boolean takes a value only behind `=`; the last of equal flags
wins; the first word that is no flag, or `--`, ends the flags, and what follows is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


class FlagError(ValueError):
    """A command line that cannot be read; `str()` is Go's message."""


@dataclass(slots=True)
class Options:
    """What the command line asks for."""

    port: str = ""
    splitwise: bool = False
    config_path: str = ""
    check: bool = False
    version: bool = False
    help: bool = False


MEANINGS = {
    "port": "listen port, goes before server.port",
    "splitwise": "PD mode: prefill and decode workers; cannot switch off what the file switches on",
    "config_path": "YAML file, see config/config.example.yaml",
    "check": "validate flags and file, print the effective configuration, and exit",
    "version": "print the version and exit",
    "V": "short for --version",
    "help": "print this and exit",
}

COMMANDS = {
    "simulate": "try policies on a trace in virtual time; `fd-router simulate --help` has its options"
}
"""First words that are something else than serving."""

_ALIASES = {"V": "version", "h": "help"}


def parse(arguments: list[str]) -> Options:
    """Read the arguments behind the program's name. Raises `FlagError`."""
    options = Options()
    booleans = {entry.name for entry in fields(Options) if isinstance(getattr(options, entry.name), bool)}
    rest = iter(arguments)
    for argument in rest:
        if len(argument) < 2 or not argument.startswith("-") or argument == "--":
            break
        name, equals, value = argument[2 if argument.startswith("--") else 1 :].partition("=")
        if not name or name.startswith("-"):
            raise FlagError(f"bad flag syntax: {argument}")
        field = _ALIASES.get(name, name)
        if field not in MEANINGS:
            raise FlagError(f"flag provided but not defined: -{name}")
        taken: Any = value
        if field in booleans:
            taken = _boolean(name, value) if equals else True
        elif not equals:
            taken = next(rest, None)
            if taken is None:
                raise FlagError(f"flag needs an argument: -{name}")
        setattr(options, field, taken)
        if options.help:
            break
    return options


def usage() -> str:
    """The flags and the commands with their meanings, one a line."""
    lines = ["Usage of fd-router:"]
    for name, meaning in MEANINGS.items():
        text = name in Options.__slots__ and isinstance(getattr(Options(), name), str)
        dashes = "-" if len(name) == 1 else "--"
        lines.append(f"  {f'{dashes}{name} string' if text else f'{dashes}{name}':<22} {meaning}")
    lines.append("Commands:")
    lines += [f"  {name:<22} {meaning}" for name, meaning in COMMANDS.items()]
    return "\n".join(lines)


def _boolean(name: str, value: str) -> bool:
    if value not in _TRUE + _FALSE:
        raise FlagError(f'invalid boolean value "{value}" for -{name}: parse error')
    return value in _TRUE
