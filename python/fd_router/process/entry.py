"""The worker process: the ASGI callable that granian serves, and the service behind it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from fd_router.observe.logs import messages
from fd_router.process import signals, tls
from fd_router.process.admin import AdminListener
from fd_router.process.ending import Ending
from fd_router.process.listener import Listener
from fd_router.process.service import Service
from fd_router.runtime.periodic import Periodic
from fd_router.upstream.trust import WATCH_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from fd_router.config import Notice
    from fd_router.downstream.client import Receive, Send
    from fd_router.edge.app import App
    from fd_router.process.in_force import InForce
    from fd_router.process.reload import Load
    from fd_router.state.store import Store

START_FAILED = 78
"""Exit status of a worker that could not start for a reason it has told on standard error (`EX_CONFIG`)."""


class Entry:
    """The ASGI callable: builds the service at the lifespan's start, then hands requests to its app.

    To be made in the worker process, before anything else is: it takes the process's signals.
    """

    def __init__(
        self, in_force: InForce, notices: Sequence[Notice], load: Load, store: Store, supervisor: int
    ) -> None:
        """`load` reads the configuration again; `store` keeps registrations.

        `supervisor` is the process id of who started the worker.
        """
        signals.begin_worker(supervisor)
        self._in_force = in_force
        self._notices = notices
        self._load = load
        self._store = store
        self._app: App | None = None
        # granian by itself would close its listener at SIGTERM, whatever else is still to be said.
        self._listener = Listener()
        self._listener.take_over()

    def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> Awaitable[None]:
        """Hand the connection to whom it concerns; no frame of this class stays on a request's stack."""
        if scope["type"] == "lifespan" or self._app is None:
            return self._lifespan(receive, send)
        return self._app(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            service = Service(self._in_force, self._notices, self._load, self._store)
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
        watch = self._watch(service, admin)
        watch.start()
        loop = asyncio.get_running_loop()
        Ending(service, self._listener.close).listen()
        signals.take_over(loop, signal.SIGHUP, service.reloading.ask)
        signals.take_over(loop, signal.SIGUSR1, service.reopen_log)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await watch.stop()
        if admin is not None:
            await admin.stop()
        await service.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def _watch(self, service: Service, admin: AdminListener | None) -> Periodic:
        log = service.log

        def renew() -> None:
            self._listener.renew()
            if admin is not None:
                admin.renew()

        certificates = tls.Certificates(service.config, log, renew)
        return Periodic(WATCH_INTERVAL, certificates.round, lambda error: log.error(messages.panic(error)))

    def _admin(self, service: Service) -> AdminListener | None:
        server = service.config.server
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
