"""Endpoints that tell something and change nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fd_router.fleet.registration import to_item
from fd_router.observe.metrics import CONTENT_TYPE
from fd_router.types import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router.downstream.client import Client
    from fd_router.fleet.fanout import Models
    from fd_router.fleet.membership import Membership
    from fd_router.observe.metrics import Metrics


class Status:
    """Tells what there is, and how it does. `draining` is set when the router is about to end."""

    def __init__(
        self, *, members: Membership, models: Models, metrics: Metrics, restored: Callable[[], bool]
    ) -> None:
        """`restored` is whether the workers that were kept over a restart have been probed."""
        self._members = members
        self._models = models
        self._metrics = metrics
        self._restored = restored
        self.draining = False

    async def registered(self, client: Client) -> None:
        """`GET /registered`."""
        registry = self._members.registry
        items: dict[str, Any] = {role: [to_item(each) for each in registry.of_role(role)] for role in ROLES}
        # In alphabetical order, as the Go router's encoder has it.
        await client.answer_json(200, dict(sorted((items | {"code": 200, "msg": "success"}).items())))

    async def registered_number(self, client: Client) -> None:
        """`GET /registered_number`."""
        await client.answer_json(200, self._members.registry.counts())

    async def health(self, client: Client) -> None:
        """`GET /health`."""
        await client.answer_json(200, {"status": "ok"})

    async def ready(self, client: Client) -> None:
        """`GET /ready`."""
        reason = self.missing()
        if reason is None:
            await client.answer_json(200, {"ready": True})
        else:
            await client.answer_json(503, {"ready": False, "reason": reason})

    def missing(self) -> str | None:
        """Why a request could not be served now; None where it could."""
        if self.draining:
            return "draining"
        if not self._restored():
            return "the workers of before the start are being probed"
        return self._members.missing()

    async def models(self, client: Client) -> None:
        """`GET /v1/models`."""
        await client.answer_json(200, await self._models.union())

    async def model(self, client: Client) -> None:
        """`GET /v1/models/{id}`."""
        await client.answer_json(200, await self._models.entry(client.path.removeprefix("/v1/models/")))

    async def metrics(self, client: Client) -> None:
        """`GET /metrics`."""
        # Rendering takes its time with many workers; beside the loop nobody waits for it.
        page = await asyncio.get_running_loop().run_in_executor(None, self._metrics.render)
        await client.answer(200, page, [(b"content-type", CONTENT_TYPE.encode())])
