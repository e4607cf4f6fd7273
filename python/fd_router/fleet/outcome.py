"""What an exchange says of its worker: the one classifier, read by conduct and by retries.

| outcome | what happened |
|---|---|
| `served` | an answer below 400, to its end |
| `fault` | no connection, a connection that broke, silence, an answer that is not HTTP, status 5xx |
| `pressure` | status 429, 503, or 304, which FastDeploy sends while its weights are away: well, but not now |
| `client` | any other status of 4xx: the request was to blame |
| `nobody` | given up, for a client that left or a pair that was lost; or the router had no descriptor or port left |
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

from fd_router.downstream.headers import get

if TYPE_CHECKING:
    from fd_router.types import Headers

Outcome: TypeAlias = Literal["served", "fault", "pressure", "client", "nobody"]

PRESSURE = frozenset({304, 429, 503})

# Kinds of `UpstreamError` that decide something.
REFUSED = "refused"
"""Nobody listens at a worker's url."""
FIRST_BYTE_TIMEOUT = "first_byte_timeout"
CANCELLED = "cancelled"
CLOSED = "closed"
"""The end of the router ended the exchange."""
EXHAUSTED = "exhausted"
"""This host is out of descriptors or ports."""
OUR_DOING = frozenset({CANCELLED, CLOSED, EXHAUSTED})
"""The router itself, or its host, brought them about."""


def of_status(status: int) -> Outcome:
    """The outcome of an answer with this status, as far as its head can say."""
    if status in PRESSURE:
        return "pressure"
    if status >= 500:
        return "fault"
    return "client" if status >= 400 else "served"


def of_kind(kind: str) -> Outcome:
    """The outcome of an exchange that failed, by `UpstreamError.kind`."""
    return "nobody" if kind in OUR_DOING else "fault"


def retry_after(headers: Headers, now: float) -> float | None:
    """Seconds of a `Retry-After` header (RFC 9110, 10.2.3), given as such or as a date; None without a usable one.

    `now` is in seconds since the epoch.
    """
    value = get(headers, b"retry-after")
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None
