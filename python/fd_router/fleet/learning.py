"""Learning which models workers serve, by asking them: beside their admission, in rounds, and where one may be another.

Each worker is asked by one question at a time, whoever wants to know. The first is sent ahead of the probe that admits
the worker, so that its answer is most often there in time; nobody waits for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from fd_router._core import UpstreamError
from fd_router.fleet.outcome import REFUSED, of_kind
from fd_router.observe.logs import messages
from fd_router.upstream.engines import EngineError
from fd_router.upstream.model_list import ModelList, read_model_list

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router.fleet.registry import Registry
    from fd_router.observe.logs import Log
    from fd_router.types import Instance
    from fd_router.upstream.relay import Upstream

CONCURRENCY = 64
"""Workers asked at once; more wait their turn, which does not count into their time."""
FIRST_ANSWER_SECS = 1.0
"""How long a new worker may take to answer before it is taken for one without a list."""
DOUBT_SECS = 1.0
"""Between two questions for which an answer of 404 is the reason."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a question: a list, or why there is none; a `failure` where nobody answered."""

    models: ModelList | None
    why: str = ""
    failure: UpstreamError | None = None


class Learner:
    """Asks workers for their models and tells the lists of the fleet."""

    def __init__(
        self,
        registry: Registry,
        upstream: Upstream,
        log: Log,
        clock: Callable[[], float],
        *,
        timeout_secs: float,
        enabled: bool,
        key: str,
    ) -> None:
        """Unless `enabled` nothing is learned, and every worker takes everything; `entries` answers all the same."""
        self._registry = registry
        self._lists = registry.models
        self._upstream = upstream
        self._log = log
        self._clock = clock
        self._timeout = timeout_secs
        self._enabled = enabled
        self._key = key
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._asking: dict[str, asyncio.Task[Reply]] = {}
        """Questions under way, and those that were answered before their worker was admitted."""
        self._asked_at: dict[str, float] = {}
        """When a worker was last asked for a doubt."""
        self._lists.asks = enabled
        if enabled:
            self._lists.wanted = self._want
            self._lists.outdated = self._drop
            self._lists.doubted = self._doubt

    def reconfigure(self, timeout_secs: float, key: str) -> None:
        """Wait for another time, and send another key, from the next question on."""
        self._timeout = timeout_secs
        self._key = key

    def ahead(self, instance: Instance) -> None:
        """A worker may be admitted soon: its question is sent. `settled` must follow."""
        if self._enabled and instance.models is None:
            self._ask(instance.url)

    def settled(self, url: str) -> None:
        """It was admitted, or not: then nobody wants to know."""
        if url not in self._lists and (question := self._asking.pop(url, None)) is not None:
            question.cancel()

    async def entries(self, url: str) -> list[dict[str, Any]] | None:
        """The entries of a worker's list; None where it has none."""
        given = self._lists.of(url) if self._lists.given(url) else None
        if given is not None:
            return [{"id": n, "object": "model", "created": 0, "owned_by": "fd-router"} for n in given]
        reply = await asyncio.shield(self._ask(url))
        return reply.models.entries if reply.models is not None else None

    async def confirm(self, url: str, model: str | None) -> bool:
        """Ask a worker that ended whether it serves a model, before it gets a request. Raises `UpstreamError`."""
        # Once more where it ended again while it was asked.
        while self._lists.unsure(url):
            reply = await asyncio.shield(self._ask(url))
            if reply.failure is not None:
                raise reply.failure
        return self._lists.serves(url, model)

    async def round(self, _late: float = 0.0) -> None:
        """Begin to ask everybody who is not being asked, and was not registered with models."""
        for url in [url for url in self._asked_at if url not in self._lists]:
            del self._asked_at[url]
        for instance in self._registry.all():
            if not self._lists.given(instance.url):
                self._ask(instance.url)

    def _ask(self, url: str) -> asyncio.Task[Reply]:
        question = self._asking.get(url)
        if question is None:
            question = asyncio.get_running_loop().create_task(self._question(url))
            self._asking[url] = question
            question.add_done_callback(partial(self._answered, url))
        return question

    async def _question(self, url: str) -> Reply:
        async with self._slots:
            try:
                models = await read_model_list(self._upstream, url, key=self._key, timeout_secs=self._timeout)
            except UpstreamError as error:
                return Reply(None, str(error), error)
            except EngineError as error:
                return Reply(None, str(error))
        return Reply(models)

    def _want(self, url: str) -> None:
        """A worker is to be asked, or its answer taken that came already."""
        question = self._ask(url)
        if question.done():
            self._take(url, question)
        elif self._lists.untold(url):
            asyncio.get_running_loop().call_later(FIRST_ANSWER_SECS, self._wait_no_longer, url)

    def _wait_no_longer(self, url: str) -> None:
        if self._lists.untold(url):
            self._unlisted(url, f"no answer within {FIRST_ANSWER_SECS:g} s")

    def _drop(self, url: str) -> None:
        self._asking.pop(url, None)

    def _doubt(self, url: str) -> None:
        now = self._clock()
        if now - self._asked_at.get(url, now - DOUBT_SECS) >= DOUBT_SECS:
            self._asked_at[url] = now
            self._ask(url)

    def _answered(self, url: str, question: asyncio.Task[Reply]) -> None:
        error = None if question.cancelled() else question.exception()
        if error is not None:
            self._log.error(messages.panic(error))
        # That of a worker which is not admitted yet waits for it.
        if url in self._lists or not self._enabled or question.cancelled() or error is not None:
            self._take(url, question)

    def _take(self, url: str, question: asyncio.Task[Reply]) -> None:
        """Act on an answer, unless the worker was asked anew since."""
        if self._asking.get(url) is not question:
            return
        del self._asking[url]
        if question.cancelled() or question.exception() is not None or not self._enabled:
            return
        self._apply(url, question.result())

    def _apply(self, url: str, reply: Reply) -> None:
        if reply.models is not None:
            if self._lists.listed(url, reply.models.names, others=reply.models.takes_others):
                self._log.info(messages.models_listed(url, reply.models.names))
        elif reply.failure is not None and reply.failure.kind == REFUSED:
            self._registry.refused(url)
        elif reply.failure is None or of_kind(reply.failure.kind) == "fault":
            self._unlisted(url, reply.why)

    def _unlisted(self, url: str, why: str) -> None:
        if self._lists.not_listed(url):
            self._log.info(messages.models_unknown(url, why))

    async def close(self) -> None:
        """Give up the questions under way."""
        questions = list(self._asking.values())
        for question in questions:
            question.cancel()
        await asyncio.gather(*questions, return_exceptions=True)
