"""Inference requests: the limit on how many, the body and its scan, then one of the two ways of serving them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from fd_router._core import BodyError, Request
from fd_router.downstream import headers as http_headers
from fd_router.downstream import request_id
from fd_router.edge.body import MIB, limits
from fd_router.edge.served import PAIRED, SERVED
from fd_router.errors import BadRequestError, LoopError
from fd_router.observe.logs import messages

if TYPE_CHECKING:
    from fd_router.config import ServerConfig
    from fd_router.downstream.client import Client
    from fd_router.edge.overload import Overload
    from fd_router.edge.served import Reading
    from fd_router.observe.logs import Log
    from fd_router.routing.endpoints import EndpointDispatches
    from fd_router.routing.mixed import MixedDispatch
    from fd_router.routing.pairs import PairDispatch

LONG_BODY = MIB
"""Bytes from which a body is put together and scanned beside the loop, so that other requests do not wait for it."""


class Inference:
    """Serves requests; in PD mode, where there are `pairs`, completions with those and all else with `specialists`."""

    def __init__(
        self,
        server: ServerConfig,
        *,
        mixed: MixedDispatch,
        pairs: PairDispatch | None,
        specialists: EndpointDispatches,
        overload: Overload,
        log: Log,
        hop: str,
    ) -> None:
        """`hop` is what the router adds to requests that it sends, so that it knows its own."""
        self._mixed = mixed
        self._pairs = pairs
        self._specialists = specialists
        self._log = log
        self._hop = hop.encode()
        self._traces: dict[str, Client] = {}
        """Requests under way whose ids are those of traces."""
        self.reconfigure(server)
        self._overload = overload
        # One thread: it finds the memory of the last long body still mapped, and leaves the other cores alone.
        self._scanner = ThreadPoolExecutor(1, "fd-router-scan")

    def reconfigure(self, server: ServerConfig) -> None:
        """Go by other limits of bodies."""
        self._limits = limits(server, server.max_body_mb * MIB)

    async def serve(self, client: Client) -> None:
        """A request to one of the engines' endpoints."""
        reading = SERVED.get(client.path, "any")
        if client.head.came_by(self._hop):
            self._log.error(messages.LOOP, client.tags)
            raise LoopError("the request came from this router: one of its workers is the router itself")
        await self._overload.enter()
        body = Holding(self._overload)
        try:
            request = await self._read(client, body, reading)
            self._log.info(messages.PARSED, client.tags)
            if self._pairs is None:
                await self._mixed.serve(client, request)
            elif reading not in PAIRED:
                await self._specialists.of(client.path).serve(client, request)
            else:
                await self._pairs.serve(client, request)
        finally:
            body.let_go()
            self._overload.leave()
            if self._traces.get(client.request_id) is client:
                del self._traces[client.request_id]

    async def _read(self, client: Client, holding: Holding, reading: Reading) -> Request:
        """Read and scan the body; from here on the client's lines carry its ids."""
        trace_id = client.head.trace_id
        if trace_id is not None:
            client.tags = self._log.request_tags(client.request_id, client.sent_id, trace_id=trace_id)
        try:
            pieces = await client.read_pieces(self._limits, holding.more)
        except BadRequestError as error:
            self._log.error(messages.body_unread(error), client.tags)
            raise type(error)(f"Invalid request body: {error}") from error
        try:
            if holding.size < LONG_BODY:
                request = scan(pieces, reading, client)
            else:
                loop = asyncio.get_running_loop()
                request = await loop.run_in_executor(self._scanner, scan, pieces, reading, client)
        except BodyError as error:
            self._log.error(messages.body_invalid(error), client.tags)
            raise BadRequestError(f"Invalid JSON format: {error}") from error
        self._name(client, request, paired=self._pairs is not None and reading in PAIRED)
        client.tags = self._log.request_tags(
            client.request_id,
            client.pair_id if client.sent_id is None else client.sent_id,
            trace_id=trace_id,
            req_id=request.req_id,
            session_id=request.session_id,
        )
        request.name(client.request_id, client.path)
        return request

    def _name(self, client: Client, request: Request, *, paired: bool) -> None:
        """Settle by what id the request is known: here, to its engine, and to a pair of them."""
        body_id = request.request_id
        if body_id:
            client.name(request_id.of_text(body_id))
        elif client.traced:
            # A trace may have several requests at once, and there are engines that refuse a second one of an id.
            if client.request_id in self._traces:
                client.request_id = request_id.varied(client.request_id)
            self._traces[client.request_id] = client
        if paired:
            # Workers of a pair find each other by it: it must not be that of another request, as one of a proxy's that
            # sends again may be.
            made = client.sent_id is None
            client.pair_id = body_id or (client.request_id if made else request_id.varied(client.request_id))
        client.carry_id()


def scan(pieces: list[bytes], reading: Reading, client: Client) -> Request:
    """Put a body together, leaving no pieces, and read it as its endpoint has it. Raises `BodyError`."""
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    pieces.clear()
    if reading == "chat":
        return Request.scan(body, True)
    if reading == "prompt":
        return Request.scan(body, False)
    return Request.read(body, reading, http_headers.get(client.headers, b"content-type") or b"")


class Holding:
    """The bytes of one body, as the gate counts them."""

    __slots__ = ("_overload", "size")

    def __init__(self, overload: Overload) -> None:
        self._overload = overload
        self.size = 0

    def more(self, size: int) -> None:
        """Some have come. Raises `OverloadedError`."""
        self._overload.take(size, self.size)
        self.size += size

    def let_go(self) -> None:
        """None is held any more."""
        self._overload.give_back(self.size)
        self.size = 0
