"""The endpoints that are no completions: embeddings, rankings, other protocols. Made-up answers, without a cache.

Such a request takes a place in the batch and a moment of time, so that load is seen, and breaks as faults say.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from fd_router.mock_engine.answer import EVENT_HEADERS, JSON_HEADERS, encode
from fd_router.mock_engine.ask import RefusedError
from fd_router.mock_engine.batch import Job, QueueFullError
from fd_router.mock_engine.made_up import AUDIO, STREAMS, WHOLE, Fields, Frames

if TYPE_CHECKING:
    from fd_router.mock_engine.delivery import Delivery
    from fd_router.mock_engine.generation import Generator


class Others:
    """Answers what the table `WHOLE` and the table `STREAMS` have."""

    def __init__(self, engine: Generator) -> None:
        self._engine = engine
        self._served = 0

    async def serve(self, path: str, body: bytes, delivery: Delivery) -> None:
        """Answer a request. Raises `RefusedError` while nothing was sent."""
        fields = {"bytes": len(body)} if path == AUDIO else json_fields(body)
        engine = self._engine
        self._served += 1
        try:
            async with engine.batch.slot(Job(f"{engine.name}-other-{self._served}", 1)):
                await asyncio.sleep(engine.options.block_secs)
                if fields.get("stream") is True and path in STREAMS:
                    await self._stream(STREAMS[path](engine.name), delivery)
                else:
                    answer = WHOLE[path](engine.name, fields)
                    await delivery.whole(200, JSON_HEADERS, encode(answer))
        except QueueFullError as error:
            raise RefusedError(429, str(error), {"retry-after": "1"}) from error

    async def _stream(self, frames: Frames, delivery: Delivery) -> None:
        await delivery.begin(EVENT_HEADERS)
        for frame in frames:
            await asyncio.sleep(self._engine.options.token_secs)
            await delivery.frame(frame)
        await delivery.end()


def json_fields(body: bytes) -> Fields:
    """The members of a body. Raises `RefusedError` with 400."""
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise RefusedError(400, f"body is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise RefusedError(400, "body is not a JSON object")
    return fields
