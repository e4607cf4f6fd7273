"""The workers' side of a request: the relay, attached to the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fd_router._core import Relay

if TYPE_CHECKING:
    from fd_router._core import Exchange, Lease
    from fd_router.config import UpstreamConfig
    from fd_router.types import Headers


class Upstream:
    """Sends requests to workers. Lives in one event loop, from construction to `close`."""

    def __init__(self, settings: UpstreamConfig, *, hop: str) -> None:
        """`hop` is an opaque id of this process; requests carry it, so that one that comes back is seen."""
        loop = asyncio.get_running_loop()
        self.relay = Relay(
            loop,
            hop=hop,
            threads=settings.threads,
            max_idle_per_worker=settings.max_idle_per_worker,
            keep_alive_secs=settings.keep_alive_secs,
            connect_timeout_secs=settings.connect_timeout_secs,
            first_byte_timeout_secs=settings.first_byte_timeout_secs,
            idle_timeout_secs=settings.idle_timeout_secs,
            ca_file=settings.ca_file or None,
        )
        loop.add_reader(self.relay.fileno(), self.relay.drain)

    def send(
        self,
        url: str,
        headers: Headers,
        body: bytes,
        *,
        method: str = "POST",
        query: bytes,
        collect: bool,
        lease: Lease | None = None,
    ) -> Exchange:
        """Ask a worker, with the client's `query`; `collect` asks for a short answer in one piece. See `Relay.send`."""
        return self.relay.send(url, headers, body, method=method, query=query, collect=collect, lease=lease)

    def ask(self, url: str, headers: Headers | None = None) -> Exchange:
        """GET over a connection of its own, as probes are: whether one can be made is part of what is asked."""
        return self.relay.send(url, headers or [], b"", method="GET", fresh=True)

    def heard(self, url: str) -> float | None:
        """Seconds since a byte of an answer to `send` came from the engine of `url`; None if never."""
        return self.relay.heard(url)

    def end(self) -> None:
        """End every exchange, those to come as well; who waits for one is told (`UpstreamError.kind` is `closed`)."""
        self.relay.close()

    def close(self) -> None:
        """End every exchange and the relay's threads; nobody is told any more."""
        asyncio.get_running_loop().remove_reader(self.relay.fileno())
        self.relay.close()
