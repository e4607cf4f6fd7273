"""How a line looks: `[LEVEL] YYYY/MM/DD HH:MM:SS logger.go:<n>: <tags><message>`, or the same facts as JSON.

The text layout is that of upstream (the Go router); its tools cut the message at `logger.go:<n>:`, so that word
stays although nothing here is written in Go.
"""

from __future__ import annotations

import json
import re
import time
from functools import lru_cache
from typing import Literal, Protocol

Level = Literal["DEBUG", "INFO", "WARN", "ERROR"]
LEVELS: tuple[Level, ...] = ("DEBUG", "INFO", "WARN", "ERROR")

MAX_TAG_CHARS = 128
"""An id is a client's text and stands in every line of its request; what is longer is cut and ends in `...`."""

_SOURCE = "logger.go:79"
_PLAIN_TAG = re.compile(rf"[ -Z^-~]{{1,{MAX_TAG_CHARS}}}")  # printable ASCII without [ \ ]
_TAG = re.compile(r"\[(trace_id|req_id|session_id|request_id):([^\]]+)\]")


class Layout(Protocol):
    """Builds lines. A prefix holds all that is the same for the lines of one level in one second."""

    def prefix(self, level: Level, second: int) -> str:
        """What comes before the tags."""

    def line(self, prefix: str, tags: str, message: str) -> str:
        """A whole line without its end."""

    def day(self, line: str) -> str:
        """The local date in a line, `YYYY-MM-DD`."""

    def is_error(self, line: str) -> bool:
        """Whether the line's level is ERROR."""


class TextLayout:
    """The layout of upstream."""

    def prefix(self, level: Level, second: int) -> str:
        """`[LEVEL] YYYY/MM/DD HH:MM:SS logger.go:<n>: `."""
        return f"[{level}] {time.strftime('%Y/%m/%d %H:%M:%S', time.localtime(second))} {_SOURCE}: "

    def line(self, prefix: str, tags: str, message: str) -> str:
        """Prefix, tags and message as they are."""
        return f"{prefix}{tags}{message}"

    def day(self, line: str) -> str:
        """The date after the level."""
        start = line.index("]") + 2
        return line[start : start + 10].replace("/", "-")

    def is_error(self, line: str) -> bool:
        """Whether the line begins with `[ERROR]`."""
        return line.startswith("[ERROR]")


class JsonLayout:
    """One ASCII-only JSON object a line: `level`, `ts` (RFC 3339, local offset), the known ids, `message`."""

    def prefix(self, level: Level, second: int) -> str:
        """The object's first two members, not closed."""
        text = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(second))
        return f'{{"level":"{level}","ts":"{text[:-2]}:{text[-2:]}"'

    def line(self, prefix: str, tags: str, message: str) -> str:
        """The object; ids are written as in the text layout, so that one search finds both."""
        return f'{prefix}{_members(tags)},"message":{json.dumps(message)}}}'

    def day(self, line: str) -> str:
        """The date in `ts`."""
        start = line.index('"ts":"') + 6
        return line[start : start + 10]

    def is_error(self, line: str) -> bool:
        """Whether the first member says ERROR."""
        return line.startswith('{"level":"ERROR"')


# A request logs some eight lines under one set of tags, so the last few sets are worth keeping.
@lru_cache(maxsize=256)
def _members(tags: str) -> str:
    return "".join(f',"{name}":{json.dumps(value)}' for name, value in _TAG.findall(tags))


def tags(
    trace_id: str | None = None,
    req_id: str | None = None,
    session_id: str | None = None,
    request_id: str | None = None,
) -> str:
    """The ids before a message, those that are known, in this order, each as `[name:value] `.

    Brackets, backslashes, control characters and whatever else cannot be printed are escaped as Python writes
    them (`\\x5d`, `\\n`, `\\ud800`); a value is cut after `MAX_TAG_CHARS`.
    """
    text = ""
    if trace_id:
        text = f"[trace_id:{_tag_value(trace_id)}] "
    if req_id:
        text += f"[req_id:{_tag_value(req_id)}] "
    if session_id:
        text += f"[session_id:{_tag_value(session_id)}] "
    if request_id:
        text += f"[request_id:{_tag_value(request_id)}] "
    return text


def _tag_value(value: str) -> str:
    if _PLAIN_TAG.fullmatch(value):
        return value
    kept = "".join(_escape_char(char) if char in "[\\]" else char for char in value[:MAX_TAG_CHARS])
    return escape(kept) + ("..." if len(value) > MAX_TAG_CHARS else "")


def escape(text: str) -> str:
    """`text` with everything that cannot be printed escaped: it stays on one line, and encodes as UTF-8."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape_char(char) for char in text)


def _escape_char(char: str) -> str:
    if char in "[\\]":
        return f"\\x{ord(char):02x}"
    return char.encode("unicode_escape").decode("ascii")


_MINUTE_NS = 60 * 10**9


def duration(seconds: float) -> str:
    """A time span as Go prints it: `500µs`, `2.798235ms`, `1.234567s`, `1m30s`, `1h0m0s`."""
    if (
        0.001 <= seconds < 0.9999999995
    ):  # most requests end in milliseconds; rounding must not carry into seconds
        return f"{seconds * 1e3:.6f}".rstrip("0").rstrip(".") + "ms"
    nanos = round(seconds * 1e9)
    if nanos < 0:
        return "-" + duration(-seconds)
    if nanos < 10**9:
        return _below_second(nanos)
    minutes, rest = divmod(nanos, _MINUTE_NS)
    text = _decimal(rest, 10**9) + "s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = f"{minutes}m{text}"
        if hours:
            text = f"{hours}h{text}"
    return text


def _below_second(nanos: int) -> str:
    if nanos == 0:
        return "0s"
    if nanos < 10**3:
        return f"{nanos}ns"
    if nanos < 10**6:
        return _decimal(nanos, 10**3) + "µs"
    return _decimal(nanos, 10**6) + "ms"


def _decimal(value: int, unit: int) -> str:
    whole, part = divmod(value, unit)
    digits = f"{part:0{len(str(unit)) - 1}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


_second_text: tuple[int, str] = (-1, "")


def ts_ms(now: float) -> str:
    """`now` (seconds since the epoch) as `YYYY-MM-DD HH:MM:SS.mmm` local time."""
    global _second_text  # noqa: PLW0603 - one pair, replaced whole, so threads never see half of it
    second = int(now)
    known, text = _second_text
    if known != second:
        text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        _second_text = (second, text)
    return f"{text}.{int((now - second) * 1000):03d}"
