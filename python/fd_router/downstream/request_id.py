"""The id of a request: what its log lines, its answer, its engine and its decisions have in common.

It is the body's `request_id`, else the client's `X-Request-Id`, else the trace id of its `traceparent` (W3C Trace
Context, 3.2), else one that is made. A client may write anything, and an id stands in headers: what no header can
carry, and spaces, are escaped as Python writes them, and an id has `MAX_CHARS` characters at the most.
"""

from __future__ import annotations

import re
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from fd_router._core import made_id
from fd_router.errors import escaped

if TYPE_CHECKING:
    from fd_router._core import RequestHead

HEADER = b"x-request-id"
MAX_CHARS = 128
"""What is longer ends in `...`."""

_chance = Random().getrandbits
_PLAIN = re.compile(rf"[!-~]{{1,{MAX_CHARS}}}")


class RequestId(NamedTuple):
    """An id as headers carry it, what the client wrote (None where it wrote nothing), and whether that was a trace."""

    value: str
    sent: str | None
    trace: bool = False


def of_head(head: RequestHead) -> RequestId:
    """What is known of the id before the body is read."""
    text = head.id
    if text is not None:
        return of_text(text)
    trace = head.trace
    return RequestId(made_id(), None) if trace is None else RequestId(trace, trace, True)


def of_text(text: str) -> RequestId:
    """The id that a client wrote."""
    return RequestId(text if _PLAIN.fullmatch(text) else _legal(text), text)


def varied(value: str) -> str:
    """Another id, which begins with this one."""
    return f"{value}-{_chance(32):08x}"


def _legal(text: str) -> str:
    # One character more tells whether it is too long.
    plain = "".join(char if "!" <= char <= "~" else escaped(char) for char in text[: MAX_CHARS + 1])
    return plain if len(plain) <= MAX_CHARS else plain[: MAX_CHARS - 3] + "..."
