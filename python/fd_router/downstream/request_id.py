"""The id of a request: what its log lines, its answer, its engine and its decisions have in common.

It is the body's `request_id`, else the client's `X-Request-Id`, else the trace id of its `traceparent` (W3C Trace
Context, 3.2), else one that is made. A client may write anything, and an id stands in headers: what no header can
carry, and spaces, are escaped as Python writes them, and an id has `MAX_CHARS` characters at the most.
"""

from __future__ import annotations

import re
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from fd_router.errors import escaped

if TYPE_CHECKING:
    from fd_router.types import Headers

HEADER = b"x-request-id"
TRACEPARENT = b"traceparent"
NAMES = (HEADER, TRACEPARENT)
"""Headers that an id may be of."""
MAX_CHARS = 128
"""What is longer ends in `...`."""

_chance = Random().getrandbits
_PLAIN = re.compile(rf"[!-~]{{1,{MAX_CHARS}}}")
_TRACE = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


class RequestId(NamedTuple):
    """An id as headers carry it, what the client wrote (None where it wrote nothing), and whether that was a trace."""

    value: str
    sent: str | None
    trace: bool = False


def of_headers(headers: Headers) -> RequestId:
    """What is known of the id before the body is read."""
    trace = None
    for name, value in headers:
        if name == HEADER:
            text = value.decode("utf-8", "replace").strip()
            if text:
                return of_text(text)
        elif name == TRACEPARENT and trace is None:
            trace = _TRACE.fullmatch(value)
    if trace is None:
        return RequestId(_made(), None)
    text = trace[1].decode()
    return RequestId(text, text, True)


def of_text(text: str) -> RequestId:
    """The id that a client wrote."""
    return RequestId(text if _PLAIN.fullmatch(text) else _legal(text), text)


def varied(value: str) -> str:
    """Another id, which begins with this one."""
    return f"{value}-{_chance(32):08x}"


def _made() -> str:
    """A random UUID (RFC 9562, 5.4). It is to differ from others, not to be a secret: the system is not asked."""
    digits = f"{_chance(128):032x}"
    variant = "89ab"[_chance(2)]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def _legal(text: str) -> str:
    # One character more tells whether it is too long.
    plain = "".join(char if "!" <= char <= "~" else escaped(char) for char in text[: MAX_CHARS + 1])
    return plain if len(plain) <= MAX_CHARS else plain[: MAX_CHARS - 3] + "..."
