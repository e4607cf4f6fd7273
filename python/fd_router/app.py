"""The ASGI edge: routes as data, limits, errors to answers, and one access line for every request."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fd_router import headers as http_headers
from fd_router._core import BodyError, Request
from fd_router.downstream import WATCH_AFTER, Client
from fd_router.errors import (
    BadRequestError,
    ClientGoneError,
    OverloadedError,
    RegistrationError,
    RouterError,
)
from fd_router.grace import Grace
from fd_router.logs import messages, tags
from fd_router.metrics import CONTENT_TYPE
from fd_router.registration import to_item
from fd_router.types import ROLES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fd_router._core import AccessLog
    from fd_router.admission import Admission
    from fd_router.config import Config
    from fd_router.dispatch import Dispatch
    from fd_router.downstream import Receive, Send
    from fd_router.fanout import Aborts, Models
    from fd_router.fleet import Fleet
    from fd_router.logs import Log
    from fd_router.metrics import Metrics
    from fd_router.monitor import Monitor
    from fd_router.pd import PairDispatch

    Handler = Callable[[Client], Awaitable[None]]

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
MIB = 1 << 20
CONTROL_BODY_LIMIT = MIB
BODY_TIMEOUT = 60.0
"""Seconds in which a client must have sent its body."""
LONG_BODY = MIB
"""Bytes from which a body is scanned beside the loop, so that other requests do not wait for it."""


class App:
    """Answers HTTP requests. One instance in one event loop."""

    def __init__(
        self,
        config: Config,
        *,
        fleet: Fleet,
        admission: Admission,
        monitor: Monitor,
        dispatch: Dispatch,
        pairs: PairDispatch | None,
        models: Models,
        aborts: Aborts,
        log: Log,
        metrics: Metrics,
        access: AccessLog,
    ) -> None:
        self._fleet = fleet
        self._admission = admission
        self._monitor = monitor
        self._dispatch = dispatch
        self._pairs = pairs
        self._models = models
        self._aborts = aborts
        self._log = log
        self._metrics = metrics
        self._access = access
        self._body_limit = int(config.server.max_body_mb * MIB)
        self._max_in_flight = config.server.max_in_flight
        self._in_flight = 0
        # One thread: it finds the memory of the last long body still mapped, and leaves the other cores alone.
        self._scanner = ThreadPoolExecutor(1, "fd-router-scan")
        self._grace = Grace(WATCH_AFTER)
        self.draining = False
        self._routes: dict[tuple[str, str], Handler] = {
            ("POST", CHAT): self._complete,
            ("POST", COMPLETIONS): self._complete,
            ("GET", "/v1/models"): self._list_models,
            ("POST", "/v1/abort_requests"): self._abort,
            ("POST", "/register"): self._register,
            ("POST", "/unregister"): self._unregister,
            ("GET", "/registered"): self._registered,
            ("GET", "/registered_number"): self._registered_number,
            ("GET", "/health_generate"): self._health_generate,
            ("GET", "/health"): self._health,
            ("GET", "/ready"): self._ready,
            ("GET", "/metrics"): self._render_metrics,
        }

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One HTTP request, from its head to its access line."""
        client = Client(scope, receive, send, self._grace)
        start = time.perf_counter()
        try:
            await self._routes.get((client.method, client.path), self._elsewhere)(client)
        except ClientGoneError as error:
            client.status = error.status
            self._metrics.client_gone(error.phase)
            self._log.info(messages.client_left(str(error)), client.tags)
        except RouterError as error:
            await self._refuse(client, error)
        except (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic in Rust is no `Exception`
            await self._crash(client, error)
        finally:
            client.answered()
            self._access.note(
                client.method,
                client.path,
                client.query,
                client.status,
                time.perf_counter() - start,
                client.peer,
                client.tags,
            )

    async def _elsewhere(self, client: Client) -> None:
        """A path that is not served: one with a slash too many is sent to the right one."""
        trimmed = client.path.rstrip("/")
        if trimmed != client.path and (client.method, trimmed) in self._routes:
            location = trimmed.encode() + (b"?" + client.query if client.query else b"")
            await client.answer(301 if client.method == "GET" else 307, b"", [(b"location", location)])
            return
        await client.answer(404, b"404 page not found", [(b"content-type", b"text/plain")])

    async def _refuse(self, client: Client, error: RouterError) -> None:
        """Answer an error on purpose in the shape of the endpoint it came from."""
        self._metrics.rejected(error.code)
        if isinstance(error, RegistrationError):
            payload: dict[str, Any] = {"code": error.status, "msg": str(error)}
        else:
            payload = {"error": str(error)}
            if client.request_id is not None:
                payload["request_id"] = client.request_id
        extra = list(client.extra) if error.status == 502 else []
        if isinstance(error, OverloadedError):
            extra.append((b"retry-after", b"1"))
        await client.answer_json(error.status, payload, extra)

    async def _crash(self, client: Client, error: BaseException) -> None:
        self._log.error(messages.panic(error), client.tags)
        self._metrics.rejected("internal")
        # When part of an answer is out already the server refuses a second one, and cuts it as we return.
        with suppress(RuntimeError):
            await client.answer_json(500, {"code": 500, "msg": "Internal server error"})

    async def _complete(self, client: Client) -> None:
        if self._max_in_flight and self._in_flight >= self._max_in_flight:
            limit = f"{self._max_in_flight} requests in flight (server.max-in-flight)"
            self._log.warn(messages.limit_reached(limit))
            raise OverloadedError(f"router is at its limit of {limit}")
        self._in_flight += 1
        try:
            request = await self._read(client)
            self._log.info(messages.PARSED, client.tags)
            if self._pairs is None:
                await self._dispatch.serve(client, request)
            else:
                await self._pairs.serve(client, request)
        finally:
            self._in_flight -= 1

    async def _read(self, client: Client) -> Request:
        """Read and scan the body; from here on the client's lines carry its ids."""
        trace_id = http_headers.trace_id(client.headers)
        if trace_id is not None:
            client.tags = tags(trace_id)
        try:
            body = await client.read_body(self._body_limit, BODY_TIMEOUT)
        except BadRequestError as error:
            self._log.error(messages.body_unread(error), client.tags)
            raise type(error)(f"Invalid request body: {error}") from error
        chat = client.path == CHAT
        try:
            if len(body) < LONG_BODY:
                request = Request.scan(body, chat)
            else:
                request = await asyncio.get_running_loop().run_in_executor(
                    self._scanner, Request.scan, body, chat
                )
        except BodyError as error:
            self._log.error(messages.body_invalid(error), client.tags)
            raise BadRequestError(f"Invalid JSON format: {error}") from error
        if self._pairs is not None:
            client.request_id = request.request_id or str(uuid4())
        client.tags = tags(trace_id, request.req_id, request.session_id, client.request_id)
        return request

    async def _register(self, client: Client) -> None:
        await self._admission.register(await self._control_body(client))
        await client.answer_json(200, {"code": 200, "msg": "Register success"})

    async def _unregister(self, client: Client) -> None:
        self._admission.unregister(await self._control_body(client))
        await client.answer_json(200, {"code": 200, "msg": "Unregister success"})

    async def _control_body(self, client: Client) -> bytes:
        try:
            return await client.read_body(CONTROL_BODY_LIMIT, BODY_TIMEOUT)
        except BadRequestError as error:
            self._log.error(messages.register_body_unread(error))
            raise RegistrationError(error.status, f"Invalid request body: {error}") from error

    async def _registered(self, client: Client) -> None:
        await client.answer_json(200, self._listing())

    def _listing(self) -> dict[str, Any]:
        items = {
            role: [to_item(instance) for instance in self._fleet.registry.of_role(role)] for role in ROLES
        }
        return {
            "code": 200,
            "decode": items["decode"],
            "mixed": items["mixed"],
            "msg": "success",
            "prefill": items["prefill"],
        }

    async def _registered_number(self, client: Client) -> None:
        await client.answer_json(200, self._fleet.registry.counts())

    async def _health_generate(self, client: Client) -> None:
        await self._monitor.report()
        await client.answer_json(200, {"code": 200, "msg": "Health check complete"})

    async def _health(self, client: Client) -> None:
        await client.answer_json(200, {"status": "ok"})

    async def _ready(self, client: Client) -> None:
        reason = "draining" if self.draining else self._fleet.missing()
        if reason is None:
            await client.answer_json(200, {"ready": True})
        else:
            await client.answer_json(503, {"ready": False, "reason": reason})

    async def _list_models(self, client: Client) -> None:
        await client.answer_json(200, await self._models.union())

    async def _abort(self, client: Client) -> None:
        body = await client.read_body(CONTROL_BODY_LIMIT, BODY_TIMEOUT)
        await client.answer_json(200, await self._aborts.abort(body))

    async def _render_metrics(self, client: Client) -> None:
        # Rendering takes its time with many workers; beside the loop nobody waits for it.
        page = await asyncio.get_running_loop().run_in_executor(None, self._metrics.render)
        await client.answer(200, page, [(b"content-type", CONTENT_TYPE.encode())])
