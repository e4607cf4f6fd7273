"""Endpoints about workers, for operators: who they are and how they do, and what is ordered of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson

from fd_router import __version__
from fd_router.edge import body
from fd_router.errors import BadRequestError, RegistrationError
from fd_router.fleet.registration import unregister_url

if TYPE_CHECKING:
    from fd_router.config import ServerConfig
    from fd_router.downstream.client import Client
    from fd_router.edge.overload import Overload
    from fd_router.fleet.orders import Orders
    from fd_router.fleet.rows import Rows
    from fd_router.observe.metrics import Metrics
    from fd_router.observe.pulse import Pulse


class Workers:
    """Shows workers, and takes orders about them."""

    def __init__(
        self,
        server: ServerConfig,
        *,
        rows: Rows,
        orders: Orders,
        pulse: Pulse,
        metrics: Metrics,
        overload: Overload,
        fingerprint: str,
    ) -> None:
        """`fingerprint` is the configuration's."""
        self.reconfigure(server, fingerprint)
        self._rows = rows
        self._orders = orders
        self._pulse = pulse
        self._metrics = metrics
        self._overload = overload
        self._started = time.time()

    def reconfigure(self, server: ServerConfig, fingerprint: str) -> None:
        """Go by other limits of bodies, and show another fingerprint."""
        self._limits = body.limits(server, body.CONTROL_BODY_LIMIT)
        self._fingerprint = fingerprint

    async def workers(self, client: Client) -> None:
        """`GET /workers`."""
        await client.answer_json(200, {"workers": self._rows.all()})

    async def status(self, client: Client) -> None:
        """`GET /status`."""
        answers, failed = self._metrics.totals()
        per_second, failed_per_second = self._pulse.rates()
        await client.answer_json(
            200,
            {
                "version": __version__,
                "config": self._fingerprint,
                "started": round(self._started, 3),
                "now": round(time.time(), 3),
                "requests": {
                    "served": self._overload.in_flight,
                    "waiting": self._overload.waiting,
                    "answers": answers,
                    "failed": failed,
                    "answers_per_second": per_second,
                    "failed_per_second": failed_per_second,
                },
                "rejects": self._metrics.rejects(),
                "states": self._rows.counts(),
                "workers": self._rows.all(),
            },
        )

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
