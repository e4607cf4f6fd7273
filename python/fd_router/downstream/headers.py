"""The few request headers that the router itself reads. Headers are ASGI's: pairs of bytes, names in lower case."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fd_router._core import HOP_HEADER
from fd_router.downstream import request_id
from fd_router.errors import BadRequestError, UnsupportedCodingError, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fd_router.types import Headers

TRACE_ID = b"x_bd_logid"
LAST = (b"connection", b"close")
"""Of an answer after which the connection is closed."""
READ = frozenset(
    {
        b"host",
        b"transfer-encoding",
        b"content-length",
        b"content-encoding",
        TRACE_ID,
        HOP_HEADER,
        *request_id.NAMES,
    }
)
"""What is read of every request."""
MAX_HOPS = 8
"""Routers that a request may pass before this one."""
_LENGTH_DIGITS = 18
"""More digits cannot be a length; the limit keeps the number within 64 bits."""
_SHOWN = 40
"""Characters of what a client wrote that its answer repeats."""
_HOST = re.compile(rb"(?:[\w.~!$&'()*+,;=%-]+|\[[0-9A-Fa-fvV.:]+\])(?::[0-9]{0,5})?")
"""A name or an address, and a port or none (RFC 3986, 3.2.2; RFC 9110, 7.2)."""
_WITHOUT_HOST = ("1", "1.0", "0.9")
"""Versions of HTTP that need no host, as granian writes them and as ASGI does."""


def read(headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    """Those of `READ`, in their order: most requests have two of them among some twenty others."""
    return [pair for pair in headers if pair[0] in READ]


def get(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first value under `name` (lower case), None if there is none."""
    for key, value in headers:
        if key == name:
            return value
    return None


def joined(theirs: Headers, ours: Headers) -> Headers:
    """Headers of a message that was made elsewhere with some of ours, which stand in place of its own."""
    names = {name for name, _ in ours}
    return [pair for pair in theirs if pair[0] not in names] + ours


def trace_id(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """The caller's trace id for the log (`X_BD_LOGID`), None if there is none or it is empty."""
    value = get(headers, TRACE_ID)
    return value.decode("utf-8", "replace").strip() or None if value else None


def check(headers: Sequence[tuple[bytes, bytes]], http_version: str) -> None:
    """Raise `BadRequestError` for a head that a server must not act on, although it could be read.

    That is one without a host, with two or with a malformed one (RFC 9112, 3.2), and one whose body is coded for
    transfer in any way but once in chunks (RFC 9112, 6.1): another server on the way may see another request in it.
    Two things are not seen here. granian puts an empty host where there is none, so both count as missing; and it hands
    on no `content-length` that stands beside a `transfer-encoding`: it goes by the latter and closes the connection.
    """
    hosts = codings = 0
    for name, value in headers:
        if name == b"host" and value:
            hosts += 1
            if _HOST.fullmatch(value) is None:
                raise BadRequestError("Invalid request: malformed Host header")
        elif name == b"transfer-encoding":
            codings += 1
            if codings > 1 or value.strip().lower() != b"chunked":
                raise BadRequestError("Invalid request: the Transfer-Encoding is not chunked, once")
    if hosts > 1:
        raise BadRequestError("Invalid request: more than one Host header")
    if not hosts and http_version not in _WITHOUT_HOST:
        raise BadRequestError("Invalid request: missing Host header")


def came_by(headers: Sequence[tuple[bytes, bytes]], hop: bytes) -> bool:
    """Whether the request was sent by the router of this hop id, or by more routers than any chain needs."""
    hops = [value for name, value in headers if name == HOP_HEADER]
    return hop in hops or len(hops) > MAX_HOPS


def require_plain(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Raise `UnsupportedCodingError` for a body that is compressed, or encoded otherwise (RFC 9110, 8.4)."""
    for name, value in headers:
        if name == b"content-encoding":
            codings = {coding.strip().lower() for coding in value.split(b",")} - {b"", b"identity"}
            if codings:
                shown = printable(min(codings).decode("latin-1"))[:_SHOWN]
                raise UnsupportedCodingError(
                    f"Content-Encoding {shown} is not accepted, send it uncompressed"
                )


def content_length(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """The announced length of the body in bytes, None if there is none.

    Raises `BadRequestError` for what is no length, and for lengths that differ (RFC 9112, 6.3: whoever guesses
    there can be made to see another request than the next server does).
    """
    found = [value for key, value in headers if key == b"content-length"]
    if not found:
        return None
    value = found[0].strip()
    if len(found) > 1 or b"," in value:
        values = {part.strip() for value in found for part in value.split(b",")}
        value = values.pop()
        if values:
            raise BadRequestError("conflicting Content-Length headers")
    if not value.isdigit() or len(value) > _LENGTH_DIGITS:
        raise BadRequestError("Content-Length is not a number")
    return int(value)


def has_body_over(size: int, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a body may have more bytes than that: one in chunks may, and one whose length cannot be read."""
    if get(headers, b"transfer-encoding") is not None:
        return True
    try:
        length = content_length(headers)
    except BadRequestError:
        return True
    return length is not None and length > size


def client_ip(peer: Sequence[object] | None) -> str:
    """The address at the other end of the connection, for the access line; IPv4 in its own form, `-` if unknown.

    `X-Forwarded-For` and `X-Real-IP` are not looked at: anybody can write them.
    """
    return str(peer[0]).removeprefix("::ffff:") if peer else "-"
