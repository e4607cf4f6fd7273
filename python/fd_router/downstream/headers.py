"""Headers as ASGI has them: pairs of bytes, names in lower case; and what is refused of those that the router reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fd_router.errors import BadRequestError, UnsupportedCodingError, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fd_router._core import RequestHead
    from fd_router.types import Headers

LAST = (b"connection", b"close")
"""Of an answer after which the connection is closed."""
_SHOWN = 40
"""Characters of what a client wrote that its answer repeats."""


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


def check(head: RequestHead) -> None:
    """Raise `BadRequestError` for a head that a server must not act on, although it could be read."""
    if head.fault is not None:
        raise BadRequestError(f"Invalid request: {head.fault}")


def body_length(head: RequestHead) -> int | None:
    """The announced length of the body in bytes, None if there is none.

    Raises `UnsupportedCodingError` for a body that is compressed, or encoded otherwise, and `BadRequestError` for what
    is no length, and for lengths that differ.
    """
    coding = head.coding
    if coding is not None:
        shown = printable(coding.decode("latin-1"))[:_SHOWN]
        raise UnsupportedCodingError(f"Content-Encoding {shown} is not accepted, send it uncompressed")
    fault = head.length_fault
    if fault is not None:
        raise BadRequestError(fault)
    return head.length


def client_ip(peer: Sequence[object] | None) -> str:
    """The address at the other end of the connection, for the access line; IPv4 in its own form, `-` if unknown.

    `X-Forwarded-For` and `X-Real-IP` are not looked at: anybody can write them.
    """
    return str(peer[0]).removeprefix("::ffff:") if peer else "-"
