"""How the worker ends: it says so, closes its door, lets what it serves finish, and at the limit ends that honestly.

| When | What |
|---|---|
| asked to end | `/ready` answers 503, answers say `Connection: close`; all is served as ever |
| after `server.drain-delay-secs` | the listener closes, kept connections too; inference requests that slip in get 503 |
| all requests are over | the process ends |
| after `server.drain-timeout-secs` more | event streams end with an error event, waiting requests with 503 |
| `GRACE_SECS` later, `LAST_SECS` if the last snapshot takes so long | the process ends, whatever its clients take |
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from fd_router.process.signals import AT_ONCE, ENDING
from fd_router.state.snapshot import LAST_SECS

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router.process.service import Service

GRACE_SECS = 0.7
"""How long the last bytes of answers that were ended may take to their clients."""


class Ending:
    """Ends one worker; `close_listener` stops the HTTP server, which returns when its connections are over."""

    def __init__(self, service: Service, close_listener: Callable[[], object]) -> None:
        self._service = service
        self._close_listener = close_listener
        self._loop = asyncio.get_running_loop()
        self._asked = False
        self._closed = False
        self._cut = False

    def listen(self) -> None:
        """Take the signals over from the HTTP server."""
        for number in ENDING:
            self._loop.add_signal_handler(number, self.begin)
        self._loop.add_signal_handler(AT_ONCE, self.at_once)

    def begin(self) -> None:
        """End in order. Idempotent."""
        if not self._asked:
            self._asked = True
            self._service.drain()
            delay = self._service.config.server.drain_delay_secs
            if delay:
                self._loop.call_later(delay, self._close)
            else:
                self._close()

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._service.close_door()
            self._close_listener()
            self._loop.call_later(self._service.config.server.drain_timeout_secs, self.at_once)

    def at_once(self) -> None:
        """End what is served, and then the process. Idempotent."""
        if not self._cut:
            self._cut = True
            self._asked = True
            self._service.drain()
            self._close()
            self._loop.call_later(GRACE_SECS, self._exit)
            self._service.cut()

    def _exit(self) -> None:
        # It was begun when streams were cut.
        self._service.snapshots.end(LAST_SECS - GRACE_SECS)
        self._service.log.close(GRACE_SECS)
        os._exit(0)
