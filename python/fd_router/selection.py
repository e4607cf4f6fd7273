"""Choosing a worker and booking it, with what the log and the metrics must hear of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fd_router import errors
from fd_router._core import NoWorkerError
from fd_router.logs import messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fd_router._core import Lease, Request, Scheduler
    from fd_router.logs import Log
    from fd_router.metrics import Metrics
    from fd_router.tokenizer import Tokenizer
    from fd_router.types import Role

TOKENIZED_POLICIES = frozenset({"cache_aware", "remote_cache_aware"})


class Booking:
    """A lease that tells the log when it is given back. Each `release*` acts once; later calls do nothing."""

    __slots__ = ("_lease", "_log", "_tags", "role", "url")

    def __init__(self, lease: Lease, log: Log, tags: str) -> None:
        self._lease = lease
        self._log = log
        self._tags = tags
        self.url = lease.url
        self.role = lease.role

    def release_tokens(self) -> None:
        """Give the prompt's tokens back: its prefill is over."""
        left = self._lease.release_tokens()
        if left is not None:
            self._log.info(messages.release_tokens(self.url, left), self._tags)

    def release(self) -> None:
        """Give everything back."""
        released = self._lease.release()
        if released is None:
            return
        running, tokens = released
        self._log.info(messages.release_worker(self.url, running), self._tags)
        if tokens is not None and self.role != "decode":
            self._log.info(messages.release_tokens(self.url, tokens), self._tags)


class Selector:
    """Applies a role's policy to a request."""

    def __init__(
        self,
        scheduler: Scheduler,
        policies: dict[Role, str],
        tokenizer: Tokenizer | None,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self._scheduler = scheduler
        self._policies = policies
        # Without a policy that looks at prefixes nobody would read the tokens.
        self._tokenizer = tokenizer if TOKENIZED_POLICIES & set(policies.values()) else None
        self._log = log
        self._metrics = metrics

    def count(self, role: Role) -> int:
        """How many workers of a role may be chosen."""
        return self._scheduler.count(role)

    async def tokens(self, request: Request, tags: str) -> list[int] | None:
        """The prompt's token ids from the tokenizer service, where a policy of this router wants them.

        None means that code points are used: no service, no text, or a failure (which is logged).
        """
        if self._tokenizer is None or request.chars == 0:
            return None
        try:
            return await self._tokenizer.tokens(request.text)
        except Exception as error:  # whatever the service does, the request goes on
            self._log.warn(messages.tokenizer_failed(error), tags)
            return None

    def book(
        self,
        role: Role,
        request: Request,
        tags: str,
        *,
        tokens: Sequence[int] | None = None,
        exclude: Sequence[str] = (),
    ) -> Booking:
        """Choose and book in one step. Raises `errors.NoWorkerError`."""
        try:
            lease = self._scheduler.select(role, request, tokens=tokens, exclude=exclude)
        except NoWorkerError as error:
            self._metrics.decision(self._policies[role], "no_worker")
            raise errors.NoWorkerError("no healthy workers available") from error
        self._tell(lease, tags)
        return Booking(lease, self._log, tags)

    def _tell(self, lease: Lease, tags: str) -> None:
        self._metrics.decision(lease.policy, "fallback" if lease.reason else "chosen")
        if lease.hit_ratio is not None:
            self._metrics.hit_ratio(lease.hit_ratio)
        if not self._log.info_enabled:
            return
        explanation = lease.explain()
        if explanation is not None:
            self._log.info(messages.strategy(explanation, time.time()), tags)
        count = lease.tokens if lease.role == "prefill" else lease.running
        self._log.info(messages.select_worker(lease.role, lease.url, count), tags)
