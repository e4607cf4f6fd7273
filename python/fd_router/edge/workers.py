"""Endpoints about workers, for operators: what is ordered of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from fd_router.edge import body
from fd_router.errors import BadRequestError, RegistrationError
from fd_router.fleet.registration import unregister_url

if TYPE_CHECKING:
    from fd_router.config import ServerConfig
    from fd_router.downstream.client import Client
    from fd_router.fleet.orders import Orders
    from fd_router.fleet.rows import Rows


class Workers:
    """Takes orders about workers."""

    def __init__(self, server: ServerConfig, *, rows: Rows, orders: Orders) -> None:
        self.reconfigure(server)
        self._rows = rows
        self._orders = orders

    def reconfigure(self, server: ServerConfig) -> None:
        """Go by other limits of bodies."""
        self._limits = body.limits(server, body.CONTROL_BODY_LIMIT)

    async def drain(self, client: Client) -> None:
        """`POST /workers/drain`."""
        url, asked = await self._asked(client)
        remove = asked.get("remove", False)
        if not isinstance(remove, bool):
            raise BadRequestError("remove: accepted: true or false")
        self._orders.drain(url, remove=remove)
        await self._done(client, url)

    async def undrain(self, client: Client) -> None:
        """`POST /workers/undrain`."""
        url, _ = await self._asked(client)
        self._orders.undrain(url)
        await self._done(client, url)

    async def eject(self, client: Client) -> None:
        """`POST /workers/eject`."""
        url, _ = await self._asked(client)
        self._orders.eject(url)
        await self._done(client, url)

    async def readmit(self, client: Client) -> None:
        """`POST /workers/readmit`."""
        url, _ = await self._asked(client)
        self._orders.readmit(url)
        await self._done(client, url)

    async def _asked(self, client: Client) -> tuple[str, dict[str, Any]]:
        """The worker that the body names, and the body. Raises `BadRequestError`."""
        raw = await client.read_body(self._limits)
        try:
            url = unregister_url(raw)
        except RegistrationError as error:
            raise BadRequestError(str(error)) from error
        return url, orjson.loads(raw)

    async def _done(self, client: Client, url: str) -> None:
        await client.answer_json(200, {"code": 200, "msg": "success", "worker": self._rows.one(url)})
