"""Serves one inference request: the queue, the prefix cache, the hand-over of KV, the tokens."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fd_router.mock_engine import answer
from fd_router.mock_engine.ask import Ask, RefusedError
from fd_router.mock_engine.batch import Batch, Job, QueueFullError
from fd_router.mock_engine.cache import PrefixCache
from fd_router.mock_engine.pairing import Identity, Kv, KvStore, mismatch, send_kv
from fd_router.mock_engine.prefill import Prefill

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fd_router.mock_engine.cache import Hold
    from fd_router.mock_engine.delivery import Delivery
    from fd_router.mock_engine.faults import Faults
    from fd_router.mock_engine.options import Options
    from fd_router.mock_engine.record import Record


@dataclass(slots=True)
class Turn:
    """One request while it is served."""

    ask: Ask
    faults: Faults
    delivery: Delivery
    template: answer.Template
    job: Job
    keys: list[int]
    kv: Kv | None
    hold: Hold | None = None
    """What it holds of the cache since its admission."""


class Generator:
    """The modelled engine. `name` and `identity` are known once it listens."""

    def __init__(self, options: Options, record: Record) -> None:
        self.options = options
        self.record = record
        self.cache = PrefixCache(options.block_size, options.cache_blocks)
        self.batch = Batch(options.max_batch, options.max_queue)
        self._prompts = Prefill(self.cache, options.block_secs, options.max_prefills)
        self.store = KvStore()
        self.name = options.name
        self.identity: Identity
        self._served = 0
        self.started = time.time()

    async def serve(self, ask: Ask, faults: Faults, delivery: Delivery, now: int) -> None:
        """Answer a request; `now` is the Unix time reported. Raises `RefusedError` while nothing was sent."""
        self._served += 1
        request_id = ask.request_id or f"{self.name}-{self._served}"
        kv = await self._pair_up(ask, request_id)
        prefix = "chatcmpl-" if ask.api == "chat" else "cmpl-"
        keys = self.cache.keys(ask.prompt)
        if len(keys) > self.cache.capacity:
            wrong = f"the prompt has {len(keys)} blocks, the cache {self.cache.capacity}"
            raise RefusedError(400, wrong)
        turn = Turn(
            ask=ask,
            faults=faults,
            delivery=delivery,
            template=answer.Template(ask, prefix + request_id, now, self.name),
            job=Job(request_id, len(keys)),
            keys=keys,
            kv=kv,
        )
        try:
            async with self.batch.slot(turn.job):
                try:
                    await (self._stream(turn) if ask.stream else self._unary(turn))
                finally:
                    if turn.hold is not None:
                        self._prompts.give_back(turn.hold)
        except QueueFullError as error:
            raise RefusedError(429, str(error), {"retry-after": "1"}) from error

    async def _pair_up(self, ask: Ask, request_id: str) -> Kv | None:
        """In a pair: check that the request is for this engine; as decode, wait for its KV."""
        if self.identity.role == "mixed":
            return None
        if ask.request_id is None:
            raise RefusedError(400, "request_id is missing: the legs of a pair find each other by it")
        wrong = mismatch(ask.disaggregate_info, self.identity)
        if wrong:
            raise RefusedError(400, wrong)
        if self.identity.role == "prefill":
            return None
        try:
            kv = await self.store.take(request_id, self.options.kv_wait_secs)
        except asyncio.TimeoutError:
            limit = self.options.kv_wait_secs
            raise RefusedError(504, f"no KV of request {request_id} came within {limit} s") from None
        if kv.checksum != ask.checksum:
            raise RefusedError(500, f"the KV of request {request_id} was made from another body")
        return kv

    async def _unary(self, turn: Turn) -> None:
        usage = await self._prefill(turn)
        finish = self._finish_reason(turn.ask)
        parts = []
        async for text, tokens in self._pieces(turn):
            parts.append(text)
            usage.completion += tokens
        body = turn.template.unary("".join(parts), "abort" if turn.job.aborted else finish, usage)
        await turn.delivery.whole(200, answer.JSON_HEADERS, body)

    async def _stream(self, turn: Turn) -> None:
        delivery, template = turn.delivery, turn.template
        await delivery.begin(answer.EVENT_HEADERS)
        try:
            usage = await self._prefill(turn)
        except RefusedError as error:
            await delivery.frame(answer.event({"error": {"message": str(error), "code": error.status}}))
            await delivery.end()
            return
        async for text, tokens in self._pieces(turn):
            first = usage.completion == 0
            usage.completion += tokens
            await delivery.frame(template.frame(text, None, role=first))
        await delivery.frame(
            template.frame("", "abort" if turn.job.aborted else self._finish_reason(turn.ask))
        )
        if turn.ask.include_usage:
            await delivery.frame(template.usage_frame(usage))
        await delivery.frame(answer.DONE)
        await delivery.end()

    async def _prefill(self, turn: Turn) -> answer.Usage:
        """Compute what is not cached; as prefill, hand it over; as decode, nothing is left to compute."""
        prompt = len(turn.ask.prompt)
        if turn.kv is not None:
            return answer.Usage(prompt, turn.kv.cached_tokens, 0)
        turn.hold = await self._prompts.compute(turn.keys, prompt)
        usage = answer.Usage(prompt, turn.hold.found * self.options.block_size, 0)
        if self.identity.role == "prefill" and turn.faults.kv != "drop":
            await self._hand_over(turn, usage.cached)
        return usage

    async def _hand_over(self, turn: Turn, cached: int) -> None:
        info = turn.ask.disaggregate_info
        assert isinstance(info, dict)
        host, port = info["decode_ip"], info["decode_connector_port"]
        checksum = turn.ask.checksum if turn.faults.kv == "send" else "corrupt"
        kv = Kv(turn.job.request_id, checksum, cached, info["transfer_protocol"])
        try:
            await send_kv(host, port, kv, self.options.kv_wait_secs)
        except (OSError, asyncio.TimeoutError) as error:
            raise RefusedError(500, f"cannot hand KV to decode's connector {host}:{port}: {error}") from error
        self.record.counts.kv_sent += 1

    async def _pieces(self, turn: Turn) -> AsyncIterator[tuple[str, int]]:
        """Texts of the answer and their tokens, each when its last one is due; prefill makes only the first."""
        loop = asyncio.get_running_loop()
        due, seed, pad = loop.time(), turn.ask.seed, turn.faults.token_bytes
        start, length = 0, self._length(turn.ask)
        while start < length:
            end = min(length, start + self.options.stream_interval) if start else 1
            due += self.options.token_secs * (end - start)
            await asyncio.sleep(max(0.0, due - loop.time()))
            if turn.job.aborted:
                return
            yield answer.piece_text(self.name, seed, range(start, end), pad), end - start
            start = end

    def _length(self, ask: Ask) -> int:
        if self.identity.role == "prefill":
            return 1
        return ask.max_tokens or self.options.answer_tokens

    def _finish_reason(self, ask: Ask) -> str:
        return "length" if ask.max_tokens else "stop"
