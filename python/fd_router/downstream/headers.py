"""The few request headers that the router itself reads. Headers are ASGI's: pairs of bytes, names in lower case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fd_router._core import HOP_HEADER
from fd_router.errors import BadRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_HOPS = 8
"""Routers that a request may pass before this one."""
_LENGTH_DIGITS = 18
"""More digits cannot be a length; the limit keeps the number within 64 bits."""


def get(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first value under `name` (lower case), None if there is none."""
    for key, value in headers:
        if key == name:
            return value
    return None


def trace_id(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """The caller's trace id for the log (`X_BD_LOGID`), None if there is none or it is empty."""
    value = get(headers, b"x_bd_logid")
    return value.decode("utf-8", "replace").strip() or None if value else None


def came_by(headers: Sequence[tuple[bytes, bytes]], hop: bytes) -> bool:
    """Whether the request was sent by the router of this hop id, or by more routers than any chain needs."""
    hops = [value for name, value in headers if name == HOP_HEADER]
    return hop in hops or len(hops) > MAX_HOPS


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


def client_ip(peer: Sequence[object] | None) -> str:
    """The address at the other end of the connection, for the access line; IPv4 in its own form, `-` if unknown.

    `X-Forwarded-For` and `X-Real-IP` are not looked at: anybody can write them.
    """
    return str(peer[0]).removeprefix("::ffff:") if peer else "-"
