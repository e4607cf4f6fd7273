"""The ASGI entry: finds the handler of a request, turns errors into answers, and writes its access line."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fd_router.downstream import headers as http_headers
from fd_router.downstream.client import WATCH_AFTER, Client
from fd_router.edge import refusal
from fd_router.edge.cors import Cors, preflight
from fd_router.edge.routes import pattern_of
from fd_router.errors import ClientGoneError, NotFoundError, RegistrationError, RouterError, printable
from fd_router.observe.logs import messages
from fd_router.runtime.overdue import OverdueWatch
from fd_router.runtime.panic import ENDINGS

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from fd_router._core import AccessLog
    from fd_router.config import ServerConfig
    from fd_router.downstream.client import Message, Receive, Send
    from fd_router.edge.access import Access
    from fd_router.edge.listing import Listing
    from fd_router.observe.logs import Log
    from fd_router.observe.metrics import Metrics
    from fd_router.observe.tracing import Trace, Tracing

WORKERS_FAILED = frozenset({502, 504})
"""Statuses for which the client is told, where it may know, which workers did not answer."""
SHOWN = 80
"""Characters of an unknown path that its answer repeats."""


class App:
    """Answers the HTTP requests of one listener."""

    def __init__(
        self,
        listing: Listing,
        log: Log,
        metrics: Metrics,
        access_log: AccessLog,
        *,
        access: Access,
        server: ServerConfig,
        tracing: Tracing | None = None,
    ) -> None:
        self._listing = listing
        self._handlers = listing.handlers
        self._guards = listing.guards
        self._json_404 = server.error_format == "openai"
        self._cors = Cors(server.cors_origins) if server.cors_origins else None
        self._log = log
        self._metrics = metrics
        self._access_log = access_log
        self._access = access
        self._tracing = tracing
        self._overdue_watch = OverdueWatch(WATCH_AFTER)
        self.active: dict[tuple[str, str], Client] = {}
        """The clients whose requests are under way, by address and port as the server writes them."""
        self.closing = False
        """Whether every answer is to be the last one of its connection."""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One HTTP request, from its head to its access line."""
        client = Client(scope, receive, _last(send) if self.closing else send, self._overdue_watch)
        client.tags = self._log.request_tags(client.request_id, client.sent_id)
        start = time.perf_counter()
        peer = scope["client"]
        self.active[peer] = client
        try:
            client.peer = self._access.origin(client.peer, client.headers)
            http_headers.check(client.head)
            if self._cors is not None and self._listing.pages_may_ask(client.path):
                self._cors.admit(client)
            asked = (client.method, client.path)
            if asked not in self._handlers:
                asked = (client.method, pattern_of(client.path))
            if self._tracing is not None:
                self._trace(self._tracing, client, asked)
            self._access.check(self._guards.get(asked, "anyone"), client)
            await self._handlers.get(asked, self._elsewhere)(client)
        except ClientGoneError as error:
            client.status = error.status
            client.error = error.code
            self._metrics.client_gone(error.phase)
            self._log.info(messages.client_left(str(error)), client.tags)
        except RouterError as error:
            await self._refuse(client, error)
        except ENDINGS:
            raise
        except BaseException as error:  # a panic in Rust is no `Exception`
            await self._crash(client, error)
        finally:
            client.settle()
            if client.trace is not None:
                self._traced(client.trace, client)
            # The connection's next request may have begun.
            if self.active.get(peer) is client:
                del self.active[peer]
            self._access_log.note(
                client.method,
                client.path,
                client.query,
                client.status,
                time.perf_counter() - start,
                client.peer,
                client.tags,
                client.facts() if self._log.has_facts else None,
            )

    def _trace(self, tracing: Tracing, client: Client, asked: tuple[str, str]) -> None:
        """Begin the span of a request that engines are to answer."""
        if client.method == "POST" and self._guards.get(asked) == "client":
            facts = {
                "http.request.method": client.method,
                "url.path": client.path,
                "client.address": client.peer,
            }
            client.trace = tracing.request(" ".join(asked), client.headers, facts)

    def _traced(self, trace: Trace, client: Client) -> None:
        trace.tell(request_id=client.request_id, attempts=client.attempts)
        trace.answered(client.status)
        if client.error is not None:
            trace.failed(client.error)
        trace.end()

    async def _elsewhere(self, client: Client) -> None:
        """A path that is not served: one with a slash too many is sent to the right one."""
        trimmed = client.path.rstrip("/")
        if trimmed != client.path and (client.method, trimmed) in self._handlers:
            location = trimmed.encode() + (b"?" + client.query if client.query else b"")
            await client.answer(301 if client.method == "GET" else 307, b"", [(b"location", location)])
            return
        if client.method == "OPTIONS" and self._cors is not None and self._listing.pages_may_ask(client.path):
            await client.answer(204, b"", preflight(client, self._listing.methods(client.path)))
            return
        if self._json_404:
            raise NotFoundError(f"no such endpoint: {client.method} {printable(client.path[:SHOWN])}")
        await client.answer(404, b"404 page not found", [(b"content-type", b"text/plain")])

    async def _refuse(self, client: Client, error: RouterError) -> None:
        """Answer an error on purpose in the shape of the endpoint it came from."""
        client.error = error.code
        self._metrics.rejected(error.code)
        shape = self._listing.shape(client.path)
        payload = refusal.payload(error, "coded" if isinstance(error, RegistrationError) else shape, client)
        extra = [*error.headers, *(client.extra if error.status in WORKERS_FAILED else [])]
        if error.retry_safe:
            extra.append((b"retry-after", b"1"))
        await client.answer_json(error.status, payload, extra)

    async def _crash(self, client: Client, error: BaseException) -> None:
        self._log.error(messages.panic(error), client.tags)
        client.error = "internal"
        self._metrics.rejected(client.error)
        # When part of an answer is out already the server refuses a second one, and cuts it as we return.
        with suppress(RuntimeError):
            crash = RouterError("Internal server error")
            openai = self._listing.shape(client.path) == "openai"
            await client.answer_json(500, refusal.payload(crash, "openai" if openai else "coded", client))


def _last(send: Send) -> Send:
    """`send` with an answer after which the server closes the connection."""

    def wrapped(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            message["headers"] = http_headers.joined(message["headers"], [http_headers.LAST])
        return send(message)

    return wrapped
