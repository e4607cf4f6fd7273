"""Choosing a worker and booking it. The scheduler counts its decisions and logs them itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fd_router._core import POLICIES
from fd_router.errors import NoWorkerError
from fd_router.observe.logs import messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fd_router._core import Lease, Request, Scheduler
    from fd_router.fleet.conduct import Conduct
    from fd_router.observe.logs import Log
    from fd_router.types import Role
    from fd_router.upstream.tokenizer import Tokenizer

TOKENIZED_POLICIES = frozenset(policy.name for policy in POLICIES if policy.reads_prefixes)
"""The policies that look at prefixes."""


class Selector:
    """Applies a role's policy to a request."""

    def __init__(
        self,
        scheduler: Scheduler,
        policies: dict[Role, str],
        tokenizer: Tokenizer | None,
        conduct: Conduct,
        log: Log,
    ) -> None:
        self._scheduler = scheduler
        self._conduct = conduct
        # Without a policy that looks at prefixes nobody would read the tokens.
        self._tokenizer = tokenizer if TOKENIZED_POLICIES & set(policies.values()) else None
        self._log = log

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
    ) -> Lease:
        """Choose and book in one step. Raises `NoWorkerError`."""
        lease = self._scheduler.select(role, request, tags=tags, tokens=tokens, exclude=exclude)
        if lease is None:
            raise NoWorkerError("no healthy workers available")
        self._conduct.chosen(lease.url)
        return lease
