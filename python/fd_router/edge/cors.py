"""CORS: which web pages may call the clients' endpoints, by `server.cors-origins` (the Fetch standard, 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fd_router.downstream import headers as http_headers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fd_router.downstream.client import Client
    from fd_router.types import Headers

MAX_AGE = b"7200"
"""Seconds for which a browser need not ask again; the most that any of them accepts."""
ORIGIN = b"origin"


class Cors:
    """Lets pages of some origins read answers. Keys are sent in headers, so that no page acts by another's cookies."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = {origin.encode() for origin in origins}
        self._everybody = b"*" in self._origins

    def admit(self, client: Client) -> None:
        """Let a page that may ask read its answer. The engine, which might say another thing, is not told who asks."""
        origin = http_headers.get(client.headers, ORIGIN)
        if origin is None:
            return
        client.headers = [pair for pair in client.headers if pair[0] != ORIGIN]
        # Who is refused is told so by the lack of the header; either way the answer depends on who asked.
        client.shared = [] if self._everybody else [(b"vary", b"Origin")]
        if self._everybody or origin.lower() in self._origins:
            client.shared.append((b"access-control-allow-origin", b"*" if self._everybody else origin))


def preflight(client: Client, methods: str) -> Headers:
    """What answers a browser that asks before it sends."""
    allowed = methods.encode()
    asked = http_headers.get(client.headers, b"access-control-request-headers")
    headers = [(b"access-control-allow-methods", allowed), (b"access-control-max-age", MAX_AGE)]
    return [*headers, (b"access-control-allow-headers", asked)] if asked else headers
