"""What one configuration key takes: its kind of value, what is accepted, and how the operator is told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from fd_router.errors import printable

Type = Literal["null", "bool", "int", "float", "text", "list", "mapping"]


@dataclass(frozen=True, slots=True)
class Found:
    """A value as it stands in the file: what YAML takes it for, and its text."""

    type: Type
    text: str = ""
    items: tuple[Found, ...] = ()
    """Of a list."""

    def __str__(self) -> str:
        if self.type in ("list", "mapping"):
            return f"a {self.type}"
        return f'"{shown(self.text)}"' if self.type == "text" else shown(self.text)


class Kind(Protocol):
    """A kind of value. `accepts` completes the sentence 'accepted: ...'."""

    @property
    def name(self) -> str:
        """One word for tables."""

    @property
    def accepts(self) -> str:
        """What is accepted, in words."""

    def read(self, found: Found) -> Any:
        """Turn what was found into a value; None if it is not accepted."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A boolean, in any of the spellings of YAML 1.1."""

    name: str = "bool"
    accepts: str = "true or false"

    def read(self, found: Found) -> bool | None:
        """See `Kind.read`."""
        return found.text.lower() in ("true", "yes", "on") if found.type == "bool" else None


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number from `low` to `high`, `why` so. `quoted` takes one in quotes as well."""

    low: int
    high: int
    quoted: bool = False
    why: str = ""
    name: str = "int"

    @property
    def accepts(self) -> str:
        """See `Kind.accepts`."""
        span = f"{self.low}" if self.low == self.high else f"whole number from {self.low} to {self.high}"
        return f"{span} ({self.why})" if self.why else span

    def read(self, found: Found) -> int | None:
        """See `Kind.read`."""
        value = self._whole(found)
        return value if value is not None and self.low <= value <= self.high else None

    def _whole(self, found: Found) -> int | None:
        if self.quoted and found.text.isascii() and found.text.isdecimal():
            # A port is text upstream: 018101 is 18101 there, and not octal.
            return int(found.text) if len(found.text) <= _DIGITS else None
        try:
            if found.type == "int":
                return int(found.text, 0)
            value = float(found.text) if found.type == "float" else math.nan
        except ValueError:
            return None
        return int(value) if value.is_integer() else None


_DIGITS = 18
"""Digits that are read at most; no range of ours needs more."""


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number from `low` to `high`; `above` leaves `low` itself out."""

    low: float
    high: float
    above: bool = False
    name: str = "float"

    @property
    def accepts(self) -> str:
        """See `Kind.accepts`."""
        low = f"above {plain(self.low)}" if self.above else f"from {plain(self.low)}"
        return f"number {low} up to {plain(self.high)}"

    def read(self, found: Found) -> float | None:
        """See `Kind.read`."""
        try:
            if found.type == "int":
                value = float(int(found.text, 0))
            else:
                value = float(found.text) if found.type == "float" else math.nan
        except (ValueError, OverflowError):
            return None
        return value if self.low <= value <= self.high and not (self.above and value == self.low) else None


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text. `off`, `1e3` and the like are text here, quoted or not."""

    name: str = "text"
    accepts: str = "one line of text"

    def read(self, found: Found) -> str | None:
        """See `Kind.read`."""
        if found.type in ("list", "mapping", "null") or not found.text.isprintable():
            return None
        return found.text


@dataclass(frozen=True, slots=True)
class Path:
    """The path of a URL."""

    name: str = "path"
    accepts: str = "path that starts with /, without spaces"

    def read(self, found: Found) -> str | None:
        """See `Kind.read`."""
        text = Text().read(found)
        return text if text is not None and text.startswith("/") and " " not in text else None


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """Where an HTTP service is; upstream adds `http://` where no scheme is given, and so do we."""

    name: str = "URL"
    accepts: str = "host:port, or a URL with http:// or https://"

    def read(self, found: Found) -> str | None:
        """See `Kind.read`."""
        text = Text().read(found)
        if text is None or " " in text:
            return None
        try:
            url = urlsplit(text if "://" in text else f"http://{text}")
            usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
        except ValueError:
            return None
        return text if usable else None


@dataclass(frozen=True, slots=True)
class Choice:
    """One of `names`, case sensitive. With a `fallback`, another name starts as that one and is reported."""

    names: tuple[str, ...]
    fallback: str | None = None
    name: str = "text"

    @property
    def accepts(self) -> str:
        """See `Kind.accepts`."""
        return ", ".join(self.names)

    def read(self, found: Found) -> str | None:
        """See `Kind.read`."""
        text = Text().read(found)
        return text if text in self.names else None


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of values of one kind, each once."""

    item: Kind
    name: str = "list"

    @property
    def accepts(self) -> str:
        """See `Kind.accepts`."""
        return f"list, each a {self.item.accepts}"

    def read(self, found: Found) -> tuple[Any, ...] | None:
        """See `Kind.read`."""
        if found.type != "list":
            return None
        values = [self.item.read(item) for item in found.items]
        return None if None in values else tuple(dict.fromkeys(values))


@dataclass(frozen=True, slots=True)
class Setting:
    """What the schema says of one key. A `default` of None: the key is required."""

    kind: Kind
    default: Any
    unit: str
    meaning: str


def setting(kind: Kind, default: Any, meaning: str, unit: str = "") -> Any:
    """A dataclass field that carries its `Setting`."""
    metadata = {"setting": Setting(kind, default, unit, meaning)}
    return field(metadata=metadata) if default is None else field(default=default, metadata=metadata)


def shown(text: str) -> str:
    """Text of others as it may stand in a message: one line, printable, not too long."""
    return printable(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


_SHOWN = 80


def plain(value: float) -> str:
    """A number as people write it: 5 and not 5.0."""
    return str(int(value)) if float(value).is_integer() else str(value)
