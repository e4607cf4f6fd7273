"""PD mode: a supervised pair. Prefill and decode get the request at once; the client gets decode's answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from fd_router._core import UpstreamError
from fd_router.downstream import headers as http_headers
from fd_router.errors import ClientGoneError, NoPairError, PairBuildError
from fd_router.fleet.outcome import FIRST_BYTE_TIMEOUT
from fd_router.observe.logs import messages
from fd_router.routing.attempt import Failure, LegError, unanswered
from fd_router.routing.disaggregate import encoded_info
from fd_router.routing.dispatch import Dispatch
from fd_router.routing.prefill_leg import PrefillLeg
from fd_router.routing.retry import GrantedError
from fd_router.routing.selection import Selector

if TYPE_CHECKING:
    from fd_router._core import Exchange, Lease, Request
    from fd_router.downstream.client import Client
    from fd_router.fleet.registry import Registry
    from fd_router.routing.dispatch import Means
    from fd_router.routing.retry import Retries, Tries
    from fd_router.types import Role


PAIR: tuple[Role, ...] = ("prefill", "decode")
NO_PAIR = "No available prefill/decode workers"


@dataclass(frozen=True, slots=True)
class Pair:
    """One prefill and one decode worker, both booked."""

    prefill: Lease
    decode: Lease


class PairDispatch(Dispatch[Selector]):
    """Serves requests with pairs, whose workers share the client's `pair_id`."""

    def __init__(
        self,
        means: Means,
        selector: Selector,
        retries: Retries,
        attempts: int,
        *,
        registry: Registry,
        expose_worker_urls: bool,
    ) -> None:
        super().__init__(means, selector, retries, attempts, expose_worker_urls=expose_worker_urls)
        self._registry = registry

    def _again(self, client: Client, lost: LegError) -> None:
        self._metrics.pair(f"{lost.role}_failed_repaired")
        again = messages.pair_again(lost.role, lost.url, lost)
        self._log.warn(again, client.tags, worker=lost.url, role=lost.role, reason=str(lost))

    def _book(self, client: Client, request: Request, tokens: list[int] | None, tries: Tries) -> Pair:
        """Both or none."""
        model = request.model
        for role in PAIR:
            if not self._selector.count(role, model):
                self._selector.nobody(role, request)
                raise NoPairError(NO_PAIR)
        self._log.stamped(messages.BEFORE_PREFILL, client.tags)
        prefill = self._book_prefill(client, request, tokens, tries)
        try:
            self._log.stamped(messages.BEFORE_DECODE, client.tags)
            decode = self._selector.book(
                "decode", request, client.tags, tokens=tokens, exclude=tries.failed, beside=prefill.url
            )
        except BaseException:
            self._log.info(messages.decode_selection_failed(prefill.url), client.tags)
            self._give_back(prefill)
            raise
        self._log.stamped(messages.AFTER_DECODE, client.tags)
        return Pair(prefill, decode)

    def _book_prefill(
        self, client: Client, request: Request, tokens: list[int] | None, tries: Tries
    ) -> Lease:
        """A prefill worker with a decode worker beside it: a request that names no model may go to any other.

        Raises `NoPairError`.
        """

        def book(exclude: list[str]) -> Lease:
            return self._selector.book("prefill", request, client.tags, tokens=tokens, exclude=exclude)

        prefill = book(tries.failed)
        if not self._selector.alone(prefill.url, request.model):
            return prefill
        self._give_back(prefill)
        every = [each.url for each in self._registry.of_role("prefill")]
        alone = [url for url in every if self._selector.alone(url, request.model)]
        prefill = book([*tries.failed, *alone])
        if prefill.url in alone:
            self._give_back(prefill)
            raise NoPairError(NO_PAIR)
        return prefill

    def _give_back(self, lease: Lease) -> None:
        """Nothing was sent to this worker."""
        self._conduct.given_up(lease.url)
        lease.release()

    def _body(self, client: Client, request: Request, pair: Pair) -> bytes:
        """The client's bytes with the pair's members spliced in."""
        prefill = self._registry.get(pair.prefill.url)
        decode = self._registry.get(pair.decode.url)
        if prefill is None or decode is None:
            what = f"worker instance not found for prefill={pair.prefill.url}, decode={pair.decode.url}"
            self._log.error(messages.disaggregate_failed(what), client.tags)
            raise PairBuildError(f"Failed to build disaggregate_info: {what}")
        members = [("disaggregate_info", encoded_info(prefill, decode))]
        if not request.request_id:
            members.append(("request_id", orjson.dumps(client.pair_id)))
        return request.splice(members)

    async def _attempt(
        self, client: Client, request: Request, tokens: list[int] | None, tries: Tries
    ) -> None:
        pair = self._book(client, request, tokens, tries)
        client.leases = (pair.prefill, pair.decode)
        client.attempts = tries.number
        try:
            waited = await self._confirm(client, "prefill", pair.prefill.url, request.model)
            waited |= await self._confirm(client, "decode", pair.decode.url, request.model)
            if waited:
                self._require_both(pair)
            body = self._body(client, request, pair)
            self._expose_urls(client, pair)
            decode = self._send(client, request, pair.decode, body)
            leg = self._prefill(client, request, pair, body, decode)
        except BaseException:
            self._give_back(pair.prefill)
            self._give_back(pair.decode)
            raise

        def client_left() -> None:
            decode.cancel()
            leg.cancel()

        outcome = ""
        try:
            client.watch(client_left)
            outcome = await self._decode(client, pair, decode, tries)
        except UpstreamError as error:
            raise self._lost(client, pair, leg, error) from error
        except BaseException:
            self._conduct.given_up(pair.decode.url)
            raise
        finally:
            decode.cancel()
            leg.close(served=outcome == "completed", repeated=decode.usage)
            if outcome:
                self._metrics.pair(outcome)
            if outcome not in ("", "decode_cut"):
                pair.decode.ended(client.status)
            pair.decode.release()

    async def _confirm(self, client: Client, role: Role, url: str, model: str | None) -> bool:
        """Ask a worker that ended for its models. Raises `LegError`; `GrantedError` where another is to be chosen.

        Returns whether that took time.
        """
        if not self._selector.unsure(url):
            return False
        try:
            serves = await self._selector.confirm(url, model)
        except UpstreamError as error:
            self._conduct.failed(url, error.kind)
            self._metrics.upstream_error(url, error.kind)
            tell = messages.prefill_failed if role == "prefill" else messages.decode_failed
            self._log.error(tell(url, error), client.tags, worker=url, role=role, reason=str(error))
            raise LegError(role, url, Failure.of_error(error)) from error
        if not serves:
            raise GrantedError(f"{role} worker {url} serves another model by now")
        return True

    def _require_both(self, pair: Pair) -> None:
        """Raise `GrantedError`, for another pair, where a worker left before anything was sent to it."""
        if not all(each.url in self._registry for each in (pair.prefill, pair.decode)):
            raise GrantedError("a worker of the pair left before anything was sent to it")

    def _prefill(
        self, client: Client, request: Request, pair: Pair, body: bytes, decode: Exchange
    ) -> PrefillLeg:
        """Start the prefill leg, which takes over prefill's lease."""

        def failed() -> None:
            if not decode.started:
                decode.cancel()

        exchange = self._send(client, request, pair.prefill, body)
        return PrefillLeg(
            exchange,
            pair.prefill,
            self._conduct,
            log=self._log,
            metrics=self._metrics,
            tags=client.tags,
            stream=request.stream,
            on_failure=failed,
        )

    def _expose_urls(self, client: Client, pair: Pair) -> None:
        if self._expose:
            client.extra = [
                (b"x-router-prefill-url", pair.prefill.url.encode()),
                (b"x-router-decode-url", pair.decode.url.encode()),
            ]

    async def _decode(self, client: Client, pair: Pair, exchange: Exchange, tries: Tries) -> str:
        """Serve decode's answer to the client. Returns the pair's outcome; raises as `deliver` does."""
        head = await exchange.head()
        url = pair.decode.url
        if self._conduct.answered(url, head):
            pair.decode.answered()
        if head.status >= 500 or tries.refused(head):
            tries.pass_on(LegError("decode", url, Failure.of_head(head)))
        broken = await self._delivery.deliver(client, exchange, head, url=url)
        if broken is not None:
            self._conduct.cut(url, head.status, broken.kind)
            return "decode_cut"
        pair.decode.completed(exchange.completion_tokens)
        self._conduct.served(url, head.status)
        if 200 <= head.status < 300:
            return "completed"
        return "decode_failed" if head.status >= 500 else "decode_refused"

    def _lost(self, client: Client, pair: Pair, leg: PrefillLeg, error: UpstreamError) -> Exception:
        """What to raise for a decode exchange that failed: prefill's failure may be the reason."""
        prefill, decode = pair.prefill.url, pair.decode.url
        if client.gone:
            self._conduct.given_up(decode)
            return ClientGoneError("waiting")
        if leg.failure is not None:
            self._conduct.given_up(decode)
            if leg.failure.error is not None:
                self._metrics.upstream_error(prefill, leg.failure.error.kind)
                failed = messages.prefill_failed(prefill, leg.failure.error)
                why = str(leg.failure.error)
                self._log.error(failed, client.tags, worker=prefill, role="prefill", reason=why)
            silent = leg.failure.error is not None and leg.failure.error.kind == FIRST_BYTE_TIMEOUT
            # Decode may have sent a head while it waited: nobody works on the request any more.
            return LegError("prefill", prefill, leg.failure, also=decode if silent else None, waits=decode)
        self._metrics.upstream_error(decode, error.kind)
        failed = messages.decode_failed(decode, error)
        self._log.error(failed, client.tags, worker=decode, role="decode", reason=str(error))
        silent = error.kind == FIRST_BYTE_TIMEOUT and not leg.answered
        if silent:
            # Decode waits for prefill, so its silence says nothing while prefill is silent too.
            self._conduct.given_up(decode)
            leg.blame(error.kind)
        else:
            self._conduct.failed(decode, error.kind)
        also = prefill if silent else None
        return LegError("decode", decode, Failure.of_error(error), also=also, begun=error.received)

    async def _give_up(self, client: Client, lost: LegError) -> None:
        """Tell the client what the failing leg said, or that it said nothing."""
        failure = lost.failure
        refused = failure.error is None and failure.status < 500
        self._metrics.pair(f"{lost.role}_refused" if refused else f"{lost.role}_failed")
        if failure.error is not None:
            told = messages.connect_failed(lost)
            self._log.error(told, client.tags, worker=lost.url, role=lost.role, reason=str(lost))
            raise unanswered(lost) from lost
        headers = http_headers.joined(failure.headers, client.extra)
        await client.answer(failure.status, failure.body, headers)
