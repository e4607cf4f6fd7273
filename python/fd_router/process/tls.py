"""TLS of the listeners: what the server is told, and what becomes of files that are replaced while it runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from granian.constants import SSLProtocols

from fd_router.observe.logs import messages
from fd_router.process import files
from fd_router.runtime.stamp import stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router.config import Config, ServerConfig
    from fd_router.errors import ConfigError
    from fd_router.observe.logs import Log
    from fd_router.runtime.stamp import Stamp

UNUSABLE = "the listeners' certificate cannot be replaced"


def server_arguments(server: ServerConfig) -> dict[str, Any]:
    """Arguments of granian's servers; none without a certificate. `files` has looked at the files before.

    A server reads them when it begins to listen.
    """
    if not server.tls_cert:
        return {}
    arguments: dict[str, Any] = {
        "ssl_cert": Path(server.tls_cert),
        "ssl_key": Path(server.tls_key),
        "ssl_protocol_min": SSLProtocols.tls12,
    }
    if server.tls_client_ca:
        arguments |= {"ssl_ca": Path(server.tls_client_ca), "ssl_client_verify": True}
    return arguments


class Certificates:
    """Looks whether the files of the listeners became others, which begin anew with them then."""

    def __init__(self, config: Config, log: Log, renew: Callable[[], object]) -> None:
        """`renew` begins the listeners anew."""
        server = config.server
        self._config = config
        self._paths = [path for path in (server.tls_cert, server.tls_key, server.tls_client_ca) if path]
        self._log = log
        self._renew = renew
        self._seen = self._look()

    async def round(self, _late: float = 0.0) -> None:
        """Look, and take up what can be used: a certificate and its key are seldom replaced in one moment."""
        if not self._paths:
            return
        found, problem = await asyncio.to_thread(self._news)
        if problem is not None:
            if self._log.lasting.met(UNUSABLE, cause=str(problem)):
                self._log.warn(messages.certificates_refused(problem))
            return
        self._log.lasting.over(UNUSABLE)
        if found == self._seen:
            return
        self._seen = found
        self._renew()
        self._log.info(messages.certificates_replaced())

    def _look(self) -> list[Stamp | None]:
        return [stamp(path) for path in self._paths]

    def _news(self) -> tuple[list[Stamp | None], ConfigError | None]:
        found = self._look()
        return found, None if found == self._seen else files.listeners_problem(self._config.server)
