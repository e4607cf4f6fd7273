"""Endpoints that change something: registrations, probes on request, aborts, calls to all engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fd_router.edge import body
from fd_router.errors import BadRequestError, RegistrationError
from fd_router.fleet.control_calls import CALLS
from fd_router.observe.logs import messages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fd_router.config import ServerConfig
    from fd_router.downstream.client import Client
    from fd_router.fleet.admission import Admission
    from fd_router.fleet.control_calls import ControlCalls
    from fd_router.fleet.fanout import Aborts
    from fd_router.fleet.monitor import Monitor
    from fd_router.observe.logs import Log


class Control:
    """Takes orders from engines and operators."""

    def __init__(
        self,
        server: ServerConfig,
        *,
        admission: Admission,
        monitor: Monitor,
        aborts: Aborts,
        calls: ControlCalls,
        reload: Callable[[], Awaitable[dict[str, Any]]],
        log: Log,
    ) -> None:
        """`reload` reads the configuration again; raises `ReloadError`."""
        self.reconfigure(server)
        self._admission = admission
        self._monitor = monitor
        self._aborts = aborts
        self._calls = calls
        self._known = {call.path: call for call in CALLS}
        self._reload = reload
        self._log = log

    def reconfigure(self, server: ServerConfig) -> None:
        """Go by other limits of bodies."""
        self._limits = body.limits(server, body.CONTROL_BODY_LIMIT)

    async def register(self, client: Client) -> None:
        """`POST /register`."""
        await self._admission.register(await self._body(client), client.tags)
        await client.answer_json(200, {"code": 200, "msg": "Register success"})

    async def unregister(self, client: Client) -> None:
        """`POST /unregister`."""
        note = self._admission.unregister(await self._body(client))
        await client.answer_json(200, {"code": 200, "msg": "Unregister success", "note": note})

    async def health_generate(self, client: Client) -> None:
        """`GET /health_generate`."""
        await self._monitor.report()
        await client.answer_json(200, {"code": 200, "msg": "Health check complete"})

    async def reload(self, client: Client) -> None:
        """`POST /reload`."""
        await client.answer_json(200, {"code": 200, "msg": "Reload success", **await self._reload()})

    async def abort(self, client: Client) -> None:
        """`POST /v1/abort_requests`."""
        await client.answer_json(200, await self._aborts.abort(await self._asked(client)))

    async def call(self, client: Client) -> None:
        """Any of `CALLS`."""
        asked = await self._asked(client)
        well, told = await self._calls.send(self._known[client.path], client.query, asked)
        status, word = (200, "success") if well else (502, "error")
        await client.answer_json(status, {"status": word, "workers": told})

    async def _asked(self, client: Client) -> bytes:
        try:
            return await client.read_body(self._limits)
        except BadRequestError as error:
            self._log.error(messages.body_unread(error), client.tags)
            raise type(error)(f"Invalid request body: {error}") from error

    async def _body(self, client: Client) -> bytes:
        try:
            return await client.read_body(self._limits)
        except BadRequestError as error:
            self._log.error(messages.register_body_unread(error), client.tags)
            raise RegistrationError(error.status, f"Invalid request body: {error}") from error
