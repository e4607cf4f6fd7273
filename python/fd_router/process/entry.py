"""The worker process: the ASGI callable that granian serves, and the service behind it."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from granian import _signals
from granian._granian import WorkerSignal

from fd_router.observe.logs import messages
from fd_router.process import signals, tls
from fd_router.process.admin import AdminListener
from fd_router.process.ending import Ending
from fd_router.process.service import Service
from fd_router.runtime.periodic import Periodic
from fd_router.upstream.trust import WATCH_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from fd_router.config import Config, Notice
    from fd_router.downstream.client import Receive, Send
    from fd_router.edge.app import App
    from fd_router.observe.logs import Log
    from fd_router.state.store import Store

START_FAILED = 78
"""Exit status of a worker that could not start for a reason it has told on standard error (`EX_CONFIG`)."""


class Entry:
    """The ASGI callable: builds the service at the lifespan's start, then hands requests to its app.

    To be made in the worker process, before anything else is: it takes the process's signals.
    """

    def __init__(self, config: Config, notices: Sequence[Notice], store: Store, supervisor: int) -> None:
        """`store` keeps registrations; `supervisor` is the process id of who started the worker."""
        signals.begin_worker(supervisor)
        self._config = config
        self._notices = notices
        self._store = store
        self._app: App | None = None
        self._stop = WorkerSignal()
        # granian would close its listener at SIGTERM, whatever else is still to be said, and hides the way to do so. It
        # asks for it by this name when the worker starts.
        _signals.set_loop_signals = lambda _loop: self._stop

    def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> Awaitable[None]:
        """Hand the connection to whom it concerns; no frame of this class stays on a request's stack."""
        if scope["type"] == "lifespan" or self._app is None:
            return self._lifespan(receive, send)
        return self._app(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            service = Service(self._config, self._notices, self._store)
            await service.start()
        except Exception as error:
            # In one piece: the supervisor may be writing too.
            stamp = time.strftime("%Y/%m/%d %H:%M:%S")
            sys.stderr.write(f"{stamp} Failed to start server: {error}\n")
            sys.stderr.flush()
            os._exit(START_FAILED)
        admin = self._admin(service)
        self._app = service.app
        if admin is not None:
            admin.start()
        watch = self._watch(service.log, admin)
        watch.start()
        Ending(service, self._config.server, self._stop.set).listen()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await watch.stop()
        if admin is not None:
            await admin.stop()
        await service.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def _watch(self, log: Log, admin: AdminListener | None) -> Periodic:
        certificates = tls.Certificates(self._config, log, admin.renew if admin is not None else None)
        return Periodic(WATCH_INTERVAL, certificates.round, lambda error: log.error(messages.panic(error)))

    def _admin(self, service: Service) -> AdminListener | None:
        server = self._config.server
        if not server.admin_port:
            return None
        host = server.admin_host or server.host
        return AdminListener(
            service.admin_app,
            host,
            server.admin_port,
            connections=service.shares.admin,
            tls=tls.server_arguments(server),
            on_lost=lambda why: service.log.error(messages.panic(why)),
        )
