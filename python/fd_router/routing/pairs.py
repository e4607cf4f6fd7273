"""PD mode: a supervised pair. Prefill and decode get the request at once; the client gets decode's answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from fd_router._core import UpstreamError
from fd_router.errors import BadGatewayError, ClientGoneError, NoPairError, PairBuildError
from fd_router.observe.logs import messages
from fd_router.routing.delivery import Delivery
from fd_router.routing.disaggregate import encoded_info
from fd_router.routing.prefill_leg import LegFailure, PrefillLeg

if TYPE_CHECKING:
    from fd_router._core import Exchange, Head, Lease, Request
    from fd_router.downstream.client import Client
    from fd_router.fleet.registry import Registry
    from fd_router.observe.logs import Log
    from fd_router.observe.metrics import Metrics
    from fd_router.routing.selection import Selector
    from fd_router.upstream.relay import Upstream

ATTEMPTS = 2
"""A pair that fails before the client has seen a byte is chosen again once."""
FIRST_BYTE_TIMEOUT = "first_byte_timeout"


@dataclass(frozen=True, slots=True)
class Pair:
    """One prefill and one decode worker, both booked."""

    prefill: Lease
    decode: Lease

    def release(self) -> None:
        """Give both back."""
        self.prefill.release()
        self.decode.release()


class LegError(Exception):
    """A pair is lost because of one leg. `str()` says why.

    `also` is the other worker where both legs were silent up to the limit: either may be the one that hangs, as a
    prefill that stands still keeps its decode from answering.
    """

    def __init__(self, role: str, url: str, failure: LegFailure, also: str | None = None) -> None:
        super().__init__(str(failure.error) if failure.error else f"status {failure.status}")
        self.role = role
        self.url = url
        self.failure = failure
        self.suspects = [url] if also is None else [url, also]


class PairDispatch:
    """Serves requests with pairs."""

    def __init__(
        self,
        selector: Selector,
        registry: Registry,
        upstream: Upstream,
        log: Log,
        metrics: Metrics,
        *,
        expose_worker_urls: bool,
    ) -> None:
        self._selector = selector
        self._registry = registry
        self._upstream = upstream
        self._delivery = Delivery(log, metrics)
        self._log = log
        self._metrics = metrics
        self._expose = expose_worker_urls

    async def serve(self, client: Client, request: Request) -> None:
        """Answer the client, whose `request_id` the pair shares. Raises `RouterError` for what the edge must answer."""
        start = time.perf_counter()
        tokens = await self._selector.tokens(request, client.tags)
        failed: list[str] = []
        for attempt in range(1, ATTEMPTS + 1):
            pair = self._book(client, request, tokens, failed)
            try:
                await self._attempt(client, request, pair, start, final=attempt == ATTEMPTS)
            except LegError as lost:
                if attempt == ATTEMPTS or lost.failure.refused:
                    await self._give_up(client, lost)
                    return
                self._metrics.pair(f"{lost.role}_failed_repaired")
                self._metrics.retry()
                self._log.warn(messages.pair_again(lost.role, lost.url, lost), client.tags)
                failed.extend(lost.suspects)
            else:
                self._metrics.duration(time.perf_counter() - start)
                return
            finally:
                pair.release()

    def _book(self, client: Client, request: Request, tokens: list[int] | None, exclude: list[str]) -> Pair:
        """Both or none."""
        if not (self._selector.count("prefill") and self._selector.count("decode")):
            raise NoPairError("No available prefill/decode workers")
        self._log.stamped(messages.BEFORE_PREFILL, client.tags)
        prefill = self._selector.book("prefill", request, client.tags, tokens=tokens, exclude=exclude)
        try:
            self._log.stamped(messages.BEFORE_DECODE, client.tags)
            decode = self._selector.book("decode", request, client.tags, tokens=tokens, exclude=exclude)
        except BaseException:
            self._log.info(messages.decode_selection_failed(prefill.url), client.tags)
            prefill.release()
            raise
        self._log.stamped(messages.AFTER_DECODE, client.tags)
        return Pair(prefill, decode)

    def _body(self, client: Client, request: Request, pair: Pair) -> bytes:
        """The client's bytes with the pair's members spliced in."""
        prefill = self._registry.get(pair.prefill.url)
        decode = self._registry.get(pair.decode.url)
        if prefill is None or decode is None:
            what = f"worker instance not found for prefill={pair.prefill.url}, decode={pair.decode.url}"
            self._log.error(messages.disaggregate_failed(what))
            raise PairBuildError(f"Failed to build disaggregate_info: {what}")
        members = [("disaggregate_info", encoded_info(prefill, decode))]
        if request.request_id is None:
            members.append(("request_id", orjson.dumps(client.request_id)))
        return request.splice(members)

    async def _attempt(
        self, client: Client, request: Request, pair: Pair, start: float, *, final: bool
    ) -> None:
        body = self._body(client, request, pair)
        self._expose_urls(client, pair)
        decode = self._send(client, request, pair.decode.url, body)
        prefill = self._send(client, request, pair.prefill.url, body)

        def prefill_failed() -> None:
            if not decode.started:
                decode.cancel()

        def client_left() -> None:
            decode.cancel()
            prefill.cancel()

        leg = PrefillLeg(
            prefill, pair.prefill, self._log, client.tags, stream=request.stream, on_failure=prefill_failed
        )
        try:
            client.watch(client_left)
            outcome = await self._decode(client, pair, decode, start, final=final)
        except UpstreamError as error:
            raise self._lost(client, pair, leg, error) from error
        finally:
            decode.cancel()
            leg.close()
        self._metrics.pair(outcome)
        if outcome != "decode_cut":
            self._log.info(messages.COMPLETED, client.tags)

    def _send(self, client: Client, request: Request, url: str, body: bytes) -> Exchange:
        return self._upstream.send(url + client.path, client.headers, body, collect=not request.stream)

    def _expose_urls(self, client: Client, pair: Pair) -> None:
        if self._expose:
            client.extra = [
                (b"x-router-prefill-url", pair.prefill.url.encode()),
                (b"x-router-decode-url", pair.decode.url.encode()),
            ]

    async def _decode(
        self, client: Client, pair: Pair, exchange: Exchange, start: float, *, final: bool
    ) -> str:
        """Serve decode's answer to the client. Returns the pair's outcome; raises as `deliver` does, and `LegError`."""
        head: Head = await exchange.head
        self._metrics.inference(prefill=pair.prefill.url, decode=pair.decode.url, status=head.status)
        if head.status >= 500 and not final:
            raise LegError("decode", pair.decode.url, LegFailure(head.status, [], b""))
        if not await self._delivery.deliver(client, exchange, head, start):
            return "decode_cut"
        if head.status >= 400:
            return "decode_failed" if head.status >= 500 else "decode_refused"
        return "completed"

    def _lost(self, client: Client, pair: Pair, leg: PrefillLeg, error: UpstreamError) -> Exception:
        """What to raise for a decode exchange that failed: prefill's failure may be the reason."""
        if client.gone:
            return ClientGoneError("waiting")
        if leg.failure is not None:
            if leg.failure.error is not None:
                self._metrics.upstream_error(leg.failure.error.kind)
                self._log.error(messages.prefill_failed(pair.prefill.url, leg.failure.error), client.tags)
            silent = leg.failure.error is not None and leg.failure.error.kind == FIRST_BYTE_TIMEOUT
            return LegError("prefill", pair.prefill.url, leg.failure, pair.decode.url if silent else None)
        self._metrics.upstream_error(error.kind)
        self._log.error(messages.decode_failed(pair.decode.url, error), client.tags)
        silent = error.kind == FIRST_BYTE_TIMEOUT and not leg.answered
        failure = LegFailure(502, [], b"", error)
        return LegError("decode", pair.decode.url, failure, pair.prefill.url if silent else None)

    async def _give_up(self, client: Client, lost: LegError) -> None:
        """Tell the client what the failing leg said, or that it said nothing."""
        self._metrics.pair(f"{lost.role}_refused" if lost.failure.refused else f"{lost.role}_failed")
        if lost.failure.error is not None:
            self._log.error(messages.connect_failed(lost), client.tags)
            raise BadGatewayError(f"Failed to connect to backend service: {lost}") from lost
        await client.answer(lost.failure.status, lost.failure.body, lost.failure.headers + client.extra)
