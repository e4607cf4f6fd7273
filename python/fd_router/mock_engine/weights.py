"""FastDeploy's calls that pause an engine and change its weights, as far as they can be seen from outside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fd_router.mock_engine.answer import JSON_HEADERS, encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fd_router.mock_engine.generation import Generator
    from fd_router.mock_engine.request import Request
    from fd_router.mock_engine.wire import Connection


class Weights:
    """Whether the engine is paused and asleep, and the version of its weights."""

    def __init__(self, engine: Generator) -> None:
        self._engine = engine
        self.paused = False
        self.version = ""
        self.orders: list[str] = []
        """Targets of the orders so far."""

    def routes(self) -> dict[tuple[str, str], Callable[[Request, Connection], Awaitable[None]]]:
        """By method and path."""
        return {
            ("POST", "/v1/pause"): self._pause,
            ("POST", "/v1/resume"): self._resume,
            ("GET", "/v1/is_paused"): self._tell,
            ("POST", "/v1/sleep"): self._pause,
            ("POST", "/v1/wakeup"): self._resume,
            ("POST", "/v1/update_weights"): self._update,
            ("GET", "/update_model_weight"): self._disabled,
            ("GET", "/clear_load_weight"): self._disabled,
        }

    async def _pause(self, request: Request, peer: Connection) -> None:
        self.paused = True
        self._engine.batch.abort(None)
        if request.path == "/v1/sleep":
            self._engine.cache.clear()
        await self._done(request, peer, {})

    async def _resume(self, request: Request, peer: Connection) -> None:
        self.paused = False
        await self._done(request, peer, {})

    async def _tell(self, request: Request, peer: Connection) -> None:
        await self._done(request, peer, {"is_paused": self.paused})

    async def _update(self, request: Request, peer: Connection) -> None:
        if not self.paused:
            await self._answer(request, peer, None, error="the engine is not paused")
            return
        wanted = json.loads(request.body) if request.body else {}
        self.version = str(wanted.get("version", ""))
        self._engine.cache.clear()
        await self._done(request, peer, {"version": self.version})

    async def _disabled(self, request: Request, peer: Connection) -> None:
        self.orders.append(request.target)
        await peer.reply(404, encode({"error": "Dynamic Load Weight Disabled."}), JSON_HEADERS)

    async def _done(self, request: Request, peer: Connection, result: dict[str, Any]) -> None:
        await self._answer(request, peer, result)

    async def _answer(
        self, request: Request, peer: Connection, result: dict[str, Any] | None, *, error: str | None = None
    ) -> None:
        self.orders.append(request.target)
        word = "success" if error is None else "error"
        answer = {"request_id": "control-1", "status": word, "error_message": error, "result": result}
        await peer.reply(200 if error is None else 500, encode(answer), JSON_HEADERS)
