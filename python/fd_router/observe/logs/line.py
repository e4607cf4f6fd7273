"""How a line looks: `[LEVEL] YYYY/MM/DD HH:MM:SS logger.go:<n>: <tags><message>`, or the same facts as JSON.

The text layout is that of upstream (the Go router); its tools cut the message at `logger.go:<n>:`, so that word
stays although nothing here is written in Go.
"""

from __future__ import annotations

import re
import time

from fd_router.errors import escaped, printable

LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")

Second = tuple[str, str, list[str], str]
"""What the lines of one second share: local date `YYYY-MM-DD`, local time `YYYY-MM-DD HH:MM:SS`, what each of `LEVELS`
puts before the tags, and what JSON has between these, where its milliseconds come first, and the tags."""

MAX_TAG_CHARS = 128
"""An id is a client's text and stands in every line of its request; what is longer is cut and ends in `...`."""

_SOURCE = "logger.go:79"
_PLAIN_TAG = re.compile(rf"[ -Z^-~]{{1,{MAX_TAG_CHARS}}}")  # printable ASCII without [ \ ]


def describe_text(second: int) -> Second:
    """A second in the layout of upstream: `[LEVEL] YYYY/MM/DD HH:MM:SS logger.go:<n>: `."""
    stamp = _stamp(second)
    return stamp[:10], stamp, [f"[{level}] {stamp.replace('-', '/')} {_SOURCE}: " for level in LEVELS], ""


def describe_json(second: int) -> Second:
    """A second as the first members of a JSON object, not closed: `level` and `ts` (RFC 3339, local offset)."""
    stamp = _stamp(second)
    offset = time.strftime("%z", time.localtime(second))
    ts = stamp.replace(" ", "T")
    prefixes = [f'{{"level":"{level}","ts":"{ts}' for level in LEVELS]
    return stamp[:10], stamp, prefixes, f'{offset[:-2]}:{offset[-2:]}"'


def _stamp(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


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
    kept = "".join(escaped(char) if char in "[\\]" else char for char in value[:MAX_TAG_CHARS])
    return printable(kept) + ("..." if len(value) > MAX_TAG_CHARS else "")
