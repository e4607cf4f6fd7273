"""The engine's routes: those of FastDeploy, and `/mock/...` for tests."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from fd_router.mock_engine.answer import JSON_HEADERS, encode, error_body
from fd_router.mock_engine.ask import Api, RefusedError, parse
from fd_router.mock_engine.delivery import BrokenOffError, Delivery
from fd_router.mock_engine.exposition import exposition
from fd_router.mock_engine.faults import SOUND, FaultError, Faults
from fd_router.mock_engine.made_up import WHOLE
from fd_router.mock_engine.others import Others
from fd_router.mock_engine.weights import Weights

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fd_router.mock_engine.faults import FaultSwitch
    from fd_router.mock_engine.generation import Generator
    from fd_router.mock_engine.request import Request
    from fd_router.mock_engine.wire import Connection

METRICS_HEADERS = [("content-type", "text/plain; version=0.0.4; charset=utf-8")]


class Routes:
    """Answers requests on every port of one engine."""

    def __init__(self, engine: Generator, switch: FaultSwitch, apply: Callable[[], Awaitable[None]]) -> None:
        self._engine = engine
        self._switch = switch
        self._apply = apply
        """Called when the faults were changed."""
        self._others = Others(engine)
        self._weights = Weights(engine)
        self._routes: dict[tuple[str, str], Callable[[Request, Connection], Awaitable[None]]] = {
            ("POST", "/v1/chat/completions"): lambda request, peer: self._complete(request, peer, "chat"),
            ("POST", "/v1/completions"): lambda request, peer: self._complete(request, peer, "completion"),
            **{("POST", path): self._other for path in WHOLE},
            ("GET", "/version"): self._other,
            **self._weights.routes(),
            ("GET", "/v1/models"): self._models,
            ("POST", "/v1/abort_requests"): self._abort,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/mock/stats"): self._stats,
            ("POST", "/mock/fault"): self._set_faults,
            ("DELETE", "/mock/fault"): self._heal,
        }

    async def serve(self, request: Request, peer: Connection, *, control: bool) -> None:
        """Answer one request; on a `control` port /health is always sound."""
        if request.path == "/health" and request.method == "GET":
            await self._health(peer, SOUND if control else self._switch.now)
            return
        route = self._routes.get((request.method, request.path))
        if route is None:
            await peer.reply(404, b'{"detail":"Not Found"}', JSON_HEADERS)
        else:
            await route(request, peer)

    async def _complete(self, request: Request, peer: Connection, api: Api) -> None:
        async def serve(faults: Faults, delivery: Delivery) -> None:
            await self._engine.serve(parse(request.body, api), faults, delivery, int(time.time()))

        await self._infer(request, peer, api, serve)

    async def _other(self, request: Request, peer: Connection) -> None:
        async def serve(_faults: Faults, delivery: Delivery) -> None:
            if request.method == "GET":
                await delivery.whole(200, JSON_HEADERS, encode({"version": self._engine.name}))
            else:
                await self._others.serve(request.path, request.body, delivery)

        await self._infer(request, peer, "completion", serve)

    async def _infer(
        self,
        request: Request,
        peer: Connection,
        api: Api,
        serve: Callable[[Faults, Delivery], Awaitable[None]],
    ) -> None:
        engine, counts = self._engine, self._engine.record.counts
        faults = self._switch.take()
        engine.record.saw(request)
        names = [("x-engine", engine.name), ("server", "mock-engine")]
        delivery = Delivery(peer, faults, names, engine.record.stalled)
        try:
            await delivery.before_head()
            refuse_by(faults)
            await serve(faults, delivery)
            counts.finished += 1
        except RefusedError as error:
            counts.refused += 1
            injected = faults.status_body.encode() if faults.status else b""
            body = injected or error_body(api, error.status, str(error))
            await delivery.whole(error.status, [*JSON_HEADERS, *error.headers.items()], body)
        except BrokenOffError:
            counts.broken_off += 1
        except asyncio.CancelledError:
            counts.aborted += 1
            raise

    async def _health(self, peer: Connection, faults: Faults) -> None:
        self._engine.record.counts.probes += 1
        if faults.health_hang:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(faults.health_delay)
        await peer.reply(faults.health_status, b"", [])

    async def _models(self, _request: Request, peer: Connection) -> None:
        options = self._engine.options
        entry = {"object": "model", "created": 0, "owned_by": "mock-engine"}
        models = [{"id": name, **entry} for name in (options.model, *options.adapters)]
        await peer.reply(200, encode({"object": "list", "data": models}), JSON_HEADERS)

    async def _metrics(self, _request: Request, peer: Connection) -> None:
        await peer.reply(200, exposition(self._engine), METRICS_HEADERS)

    async def _abort(self, request: Request, peer: Connection) -> None:
        body = json_object(request.body)
        wanted = body.get("req_ids")
        if body.get("abort_all") is not True and not (isinstance(wanted, list) and wanted):
            await peer.reply(400, encode({"error": "must provide abort_all=true or req_ids"}), JSON_HEADERS)
            return
        ids = None if body.get("abort_all") is True else {str(item) for item in wanted or ()}
        aborted = self._engine.batch.abort(ids)
        answer = {"aborted": sorted(aborted), "not_found": sorted((ids or set()) - aborted), "errors": []}
        await peer.reply(200, encode(answer), JSON_HEADERS)

    async def _stats(self, _request: Request, peer: Connection) -> None:
        engine = self._engine
        stats = {
            "name": engine.name,
            "role": engine.options.role,
            "running": engine.batch.running,
            "waiting": engine.batch.waiting,
            "peak_running": engine.batch.peak_running,
            "cached_blocks": len(engine.cache),
            "kv_received": engine.store.received,
            "paused": self._weights.paused,
            "orders": self._weights.orders,
            **engine.record.json(),
        }
        await peer.reply(200, encode(stats), JSON_HEADERS)

    async def _set_faults(self, request: Request, peer: Connection) -> None:
        try:
            self._switch.now = self._switch.now.with_changes(json_object(request.body))
        except FaultError as error:
            await peer.reply(400, encode({"error": str(error)}), JSON_HEADERS)
            return
        await self._apply()
        await peer.reply(200, encode({"ok": True}), JSON_HEADERS)

    async def _heal(self, _request: Request, peer: Connection) -> None:
        self._switch.now = SOUND
        await self._apply()
        await peer.reply(200, encode({"ok": True}), JSON_HEADERS)


def refuse_by(faults: Faults) -> None:
    """Raise the `RefusedError` that a fault asks for, if any."""
    if faults.status:
        raise RefusedError(faults.status, f"injected status {faults.status}", faults.status_headers)


def json_object(body: bytes) -> dict[str, Any]:
    """A body that should be an object; anything else counts as an empty one."""
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
