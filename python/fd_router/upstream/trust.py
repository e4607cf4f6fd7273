"""Whom the router takes for its engines over https: the roots of `upstream.ca-file`, or of the environment or system.

The relay verifies with rustls and everything else with Python's ssl. Both are given the certificates that the extension
reads, so that an engine which is accepted by one is accepted by the other.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

from fd_router._core import root_certificates
from fd_router.errors import ConfigError
from fd_router.runtime.stamp import stamp

if TYPE_CHECKING:
    from collections.abc import Callable

WATCH_INTERVAL = 5.0
"""Seconds between two looks at the file of the roots."""


class Trust:
    """The roots for everything that is not the relay, read when they are first needed."""

    def __init__(self, ca_file: str = "") -> None:
        """`ca_file` is a PEM file; without one those of the environment or the system count."""
        self._ca_file = ca_file or None
        self._context: ssl.SSLContext | None = None
        self._file = ca_file or os.environ.get("SSL_CERT_FILE", "")
        self._seen = stamp(self._file)
        self._on_change: list[Callable[[], None]] = []

    def check(self) -> None:
        """Raise `ConfigError` for a file that has no certificate. Without one nothing is read before it is needed."""
        if self._ca_file is not None:
            try:
                root_certificates(self._ca_file)
            except OSError as error:
                raise ConfigError(f"upstream.ca-file: {error}") from error

    def on_change(self, call: Callable[[], None]) -> None:
        """Have somebody else told who keeps what was read of the file."""
        self._on_change.append(call)

    async def round(self, _late: float = 0.0) -> None:
        """Look whether the file became another; connections from now on are verified by the new one."""
        found = await asyncio.to_thread(stamp, self._file)
        # Between two versions there may be none for a moment.
        if found is None or found == self._seen:
            return
        self._seen = found
        self._context = None
        for call in self._on_change:
            call()

    async def context(self) -> ssl.SSLContext:
        """What connections are verified with. Raises `OSError` where there are no roots."""
        if self._context is None:
            # Reading and parsing the system's takes tens of milliseconds.
            self._context = await asyncio.to_thread(self._load)
        return self._context

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for certificate in root_certificates(self._ca_file):
            # A system has some that are only good for one of the two libraries.
            with suppress(ssl.SSLError):
                context.load_verify_locations(cadata=certificate)
        return context
