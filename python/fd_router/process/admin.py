"""The listener of `server.admin-port`: a second server in the worker's event loop.

Its connections, threads and limits are its own, so that clients who fill the first listener leave it alone. Of the
loop, which both share, no request takes more than a moment at a time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fd_router.edge.app import App

BACKLOG = 512
HEAD_LIMIT = 65_536
HEAD_TIMEOUT_MS = 10_000
"""Milliseconds in which a request's head must be there; also how long an idle connection is kept."""


class AdminListener:
    """Serves `app` from `start` to `stop`."""

    def __init__(
        self,
        app: App,
        host: str,
        port: int,
        *,
        connections: int,
        tls: Mapping[str, Any],
        on_lost: Callable[[str], None],
    ) -> None:
        """So many `connections` at a time; `on_lost` is told why it ended without being stopped."""
        self._on_lost = on_lost
        self._stopping = False
        self._server = Server(
            app,
            address=host,
            port=port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=HEAD_TIMEOUT_MS, max_buffer_size=HEAD_LIMIT),
            websockets=False,
            backlog=BACKLOG,
            backpressure=connections,
            log_enabled=False,
            **tls,
        )
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Listen."""
        self._serving = asyncio.get_running_loop().create_task(self._server.serve())
        self._serving.add_done_callback(self._ended)

    def renew(self) -> None:
        """Read the files of certificates anew: who connects from now on is shown them, and others are answered."""
        self._server.reload()

    def _ended(self, serving: asyncio.Task[None]) -> None:
        if not self._stopping:
            error = None if serving.cancelled() else serving.exception()
            self._on_lost(f"the listener of server.admin-port ended: {error}")

    async def stop(self) -> None:
        """Answer what is under way, and end."""
        self._stopping = True
        if self._serving is not None and not self._serving.done():
            self._server.stop()
            await self._serving
