"""What one configuration key takes: its kind of value, what is accepted, and how the operator is told."""

from __future__ import annotations

import ipaddress
import math
import os
import re
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
        """Turn what was found into a value; None if it is not accepted, `ValueError` where more is to be said."""


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
class Name:
    """A word that becomes part of other names."""

    name: str = "name"
    accepts: str = "1 to 64 of A-Z, a-z, 0-9, . _ -"

    def read(self, found: Found) -> str | None:
        """See `Kind.read`."""
        text = Text().read(found) or ""
        return text if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text) else None


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
class Endpoint:
    """A path of engines, of POST unless its method stands before it."""

    name: str = "endpoint"
    accepts: str = (
        "path such as /v2/embed, or a method and a path such as GET /version; without query or wildcard"
    )

    def read(self, found: Found) -> str | None:
        """See `Kind.read`; the method always stands before the path."""
        endpoint = _ENDPOINT.fullmatch(Text().read(found) or "")
        return f"{endpoint['method'] or 'POST'} {endpoint['path']}" if endpoint is not None else None


_ENDPOINT = re.compile(
    r"(?:(?P<method>GET|POST|PUT|PATCH|DELETE) )?(?P<path>(?:/(?!\.{1,2}(?:/|$))[\w.~:@-]+)+)", re.ASCII
)
"""No part of a path is empty, `.` or `..`: an engine may take such a path for another."""


@dataclass(frozen=True, slots=True)
class Origin:
    """An origin of web pages as browsers name it, or `*` for all."""

    name: str = "origin"
    accepts: str = "origin such as https://app.example or http://127.0.0.1:3000, or *"

    def read(self, found: Found) -> str | None:
        """See `Kind.read`."""
        text = Text().read(found) or ""
        return text.lower() if _ORIGIN.fullmatch(text) else None


_ORIGIN = re.compile(r"\*|[A-Za-z][A-Za-z0-9+.-]*://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")


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
class Cidr:
    """A network by address and length of its prefix; an address alone is a network of one."""

    name: str = "CIDR"
    accepts: str = "network such as 10.0.0.0/8 or fd00::/8, without bits behind its prefix, or an address"

    def read(self, found: Found) -> str | None:
        """See `Kind.read`."""
        try:
            return str(ipaddress.ip_network(Text().read(found) or "", strict=True))
        except ValueError:
            raise ValueError(f"found {found}, accepted: {self.accepts}") from None


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A key, and where it came from: `${NAME}`, `file:PATH`, or the YAML itself. Never shown."""

    source: str = ""
    value: str = ""

    def __bool__(self) -> bool:
        return bool(self.value)

    def __str__(self) -> str:
        """The reference, or that there was none."""
        return self.source if _SOURCE.fullmatch(self.source) else "(not shown)"

    def __repr__(self) -> str:
        return f"Secret({self})"


_SOURCE = re.compile(r"\$\{(?P<variable>\w+)\}|file:(?P<path>.+)")
_MAX_KEY_FILE = 65_536


_KEY = "visible ASCII without spaces, `${NAME}` of the environment, or `file:PATH`"


@dataclass(frozen=True, slots=True)
class Key:
    """One key, in the file or by a reference to where it is kept."""

    name: str = "key"
    accepts: str = _KEY

    def read(self, found: Found) -> Secret | None:
        """See `Kind.read`."""
        keys = self.read_all(found)
        if keys is not None and len(keys) > 1:
            raise ValueError(f"{keys[0]} holds {len(keys)} keys, accepted: one")
        return keys[0] if keys else None

    def read_all(self, found: Found) -> list[Secret] | None:
        """The keys of one entry: a file may hold several, one a line; lines that begin with # do not count."""
        text = Text().read(found)
        if not text:
            return None
        lines = [line for line in map(str.strip, _contents(text)) if line and not line.startswith("#")]
        if not lines:
            raise ValueError(f"{Secret(text)} holds no key")
        if not all("!" <= char <= "~" for line in lines for char in line):
            return None
        return [Secret(text, line) for line in lines]


def _contents(text: str) -> list[str]:
    """The lines behind a reference, or the text itself."""
    source = _SOURCE.fullmatch(text)
    if source is None:
        return [text]
    if source["variable"]:
        try:
            return [os.environ[source["variable"]]]
        except KeyError:
            raise ValueError(f"{text} is not set in the environment") from None
    try:
        with open(source["path"], encoding="ascii", errors="replace") as file:
            content = file.read(_MAX_KEY_FILE + 1)
    except OSError as error:
        raise ValueError(f"{text} cannot be read: {(error.strerror or str(error)).lower()}") from error
    # Half of a key would be one that is soon guessed.
    if len(content) > _MAX_KEY_FILE:
        raise ValueError(f"{text} is larger than {_MAX_KEY_FILE} bytes")
    return content.splitlines()


@dataclass(frozen=True, slots=True)
class Keys:
    """A list of keys."""

    name: str = "list"
    accepts: str = f"list, each {_KEY}"

    def read(self, found: Found) -> tuple[Secret, ...] | None:
        """See `Kind.read`."""
        if found.type != "list":
            return None
        keys: list[Secret] = []
        for item in found.items:
            more = Key().read_all(item)
            if more is None:
                return None
            keys += more
        return tuple({key.value: key for key in keys}.values())


@dataclass(frozen=True, slots=True)
class Setting:
    """What the schema says of one key. A `default` of None: the key is required."""

    kind: Kind
    default: Any
    unit: str
    meaning: str
    live: bool
    """Whether a reload takes a new value over; any other waits for a restart."""

    @property
    def secret(self) -> bool:
        """Whether what the file says here must not be repeated anywhere."""
        return isinstance(self.kind, (Key, Keys))


def setting(kind: Kind, default: Any, meaning: str, unit: str = "", *, live: bool = False) -> Any:
    """A dataclass field that carries its `Setting`."""
    metadata = {"setting": Setting(kind, default, unit, meaning, live)}
    return field(metadata=metadata) if default is None else field(default=default, metadata=metadata)


def shown(text: str) -> str:
    """Text of others as it may stand in a message: one line, printable, not too long."""
    return printable(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


_SHOWN = 80


def plain(value: float) -> str:
    """A number as people write it: 5 and not 5.0."""
    return str(int(value)) if float(value).is_integer() else str(value)
