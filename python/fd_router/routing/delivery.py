"""Handing a worker's answer to the client, and ending it well when the worker fails in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from fd_router._core import UpstreamError
from fd_router.errors import DRAINING, ClientGoneError
from fd_router.fleet.outcome import CLOSED
from fd_router.observe.logs import messages

if TYPE_CHECKING:
    from fd_router._core import Exchange, Head
    from fd_router.downstream.client import Client
    from fd_router.observe.logs import Log
    from fd_router.observe.metrics import Metrics


NAMED_EVENTS = "/v1/messages"
"""The endpoint whose clients go by the names of events."""


class Delivery:
    """Forwards answers."""

    def __init__(self, log: Log, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics

    async def deliver(
        self,
        client: Client,
        exchange: Exchange,
        head: Head,
        *,
        url: str,
    ) -> UpstreamError | None:
        """Send the head, with the client's `extra` headers and marks, and the body on, unchanged.

        Returns what broke it off, or None.

        `url` is the worker's.

        When the worker fails in the middle, an answer that `takes_events` is ended with an error event; any other is
        left without an end, for which the server cuts the connection as the request's coroutine returns. Raises
        `UpstreamError` when the worker failed and the client has seen nothing; `ClientGoneError`.
        """
        client.status = head.status
        extra = client.extra + client.marks()
        if head.body is not None:
            pending = exchange.answer(client.send, head, extra)
            if pending is not None:
                await pending
        else:
            try:
                await exchange.forward(client.send, None, head, extra)
            except UpstreamError as error:
                if client.gone:
                    raise ClientGoneError("answer" if exchange.started else "waiting") from error
                if not exchange.started:
                    raise
                await self._broken_off(client, exchange, head, url, error)
                return error
        client.settle()
        return None

    async def _broken_off(
        self, client: Client, exchange: Exchange, head: Head, url: str, error: UpstreamError
    ) -> None:
        client.error = error.kind
        self._metrics.upstream_error(url, error.kind)
        self._log.error(messages.scanner_error(error), client.tags, worker=url, reason=str(error))
        if takes_events(head):
            await client.finish(frame_boundary(exchange.tail) + error_event(error, client.path))


def takes_events(head: Head) -> bool:
    """Whether an event can be added to an answer: a stream of them that is not compressed, nor of a length that was
    announced, into which an event would be fitted in part, as if all had come."""
    sized = any(name == b"content-length" for name, _ in head.headers)
    return head.event_stream and not head.encoded and not sized


def frame_boundary(tail: bytes) -> bytes:
    """What must be written after `tail` so that the next event starts on a line of its own, in a fresh frame."""
    if not tail or tail.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")):
        return b""
    return b"\n" if tail.endswith(b"\n") else b"\n\n"


def error_event(error: UpstreamError, path: str) -> bytes:
    """The event that ends a broken stream, in the shape that clients of the endpoint raise as an error."""
    what, side = (
        (DRAINING, "router_error") if error.kind == CLOSED else (f"worker failed: {error}", "upstream_error")
    )
    payload: dict[str, object] = {"error": {"message": what, "type": side, "code": error.kind}}
    if path == NAMED_EVENTS:
        return b"event: error\ndata: " + orjson.dumps({"type": "error"} | payload) + b"\n\n"
    return b"data: " + orjson.dumps(payload) + b"\n\n"
