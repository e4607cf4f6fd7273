"""Choosing a worker and booking it. The scheduler counts its decisions and logs them itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fd_router._core import POLICIES
from fd_router.errors import ModelNotFoundError, NoWorkerError
from fd_router.observe.logs import messages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fd_router._core import Lease, Request, Scheduler
    from fd_router.fleet.conduct import Conduct
    from fd_router.fleet.learning import Learner
    from fd_router.fleet.models import ModelLists
    from fd_router.observe.logs import Log
    from fd_router.types import Role
    from fd_router.upstream.tokenizer import Tokenizer

TOKENIZED_POLICIES = frozenset(policy.name for policy in POLICIES if policy.reads_prefixes)
"""The policies that look at prefixes."""
UNTOKENIZED = "the tokenizer fails"


class Chooser(Protocol):
    """Chooses workers for requests."""

    async def tokens(self, request: Request, tags: str) -> list[int] | None:
        """See `Selector.tokens`."""

    def book(
        self,
        role: Role,
        request: Request,
        tags: str,
        *,
        tokens: Sequence[int] | None = None,
        exclude: Sequence[str] = (),
    ) -> Lease:
        """See `Selector.book`."""

    def unsure(self, url: str) -> bool:
        """See `Selector.unsure`."""

    async def confirm(self, url: str, model: str | None) -> bool:
        """See `Selector.confirm`."""


class Selector:
    """Applies a role's policy to a request."""

    def __init__(
        self,
        scheduler: Scheduler,
        policies: Mapping[Role, str],
        tokenizer: Tokenizer | None,
        *,
        conduct: Conduct,
        models: ModelLists,
        learner: Learner,
        log: Log,
    ) -> None:
        self._scheduler = scheduler
        self._models = models
        self._learner = learner
        self._conduct = conduct
        self._service = tokenizer
        self._log = log
        self.reconfigure(policies)

    def reconfigure(self, policies: Mapping[Role, str]) -> None:
        """Serve other policies. Without one that looks at prefixes nobody would read tokens."""
        self._tokenizer = self._service if TOKENIZED_POLICIES & set(policies.values()) else None

    def count(self, role: Role, model: str | None) -> int:
        """How many workers of a role may be chosen for a model."""
        return self._scheduler.count(role, model)

    def alone(self, prefill: str, model: str | None) -> bool:
        """Whether no decode worker may be chosen beside a prefill worker, for a request for a model."""
        partner = self._models.partner_model(prefill, model)
        return partner != model and not self._scheduler.count("decode", partner)

    def unsure(self, url: str) -> bool:
        """Whether a worker has ended, so that it is to be asked for its models before it gets a request."""
        return self._models.unsure(url)

    async def confirm(self, url: str, model: str | None) -> bool:
        """Ask it whether it serves a model. Raises `UpstreamError`."""
        return await self._learner.confirm(url, model)

    def require_served(self, model: str | None) -> None:
        """Raise `ModelNotFoundError` where it is known that nobody serves a model."""
        if model is not None and self._models.unserved(model):
            raise ModelNotFoundError(model)

    def nobody(self, role: Role, request: Request) -> None:
        """No worker of a role may be chosen for a request. Raises `ModelNotFoundError` where that is known to last."""
        self._scheduler.nobody(role, request)
        self.require_served(request.model)

    async def tokens(self, request: Request, tags: str) -> list[int] | None:
        """The prompt's token ids from the tokenizer service, where a policy of this router wants them.

        None means that code points are used: no service, no text, or a failure (which is logged).
        """
        if self._tokenizer is None or request.chars == 0:
            return None
        try:
            tokens = await self._tokenizer.tokens(request.text)
        except Exception as error:  # whatever the service does, the request goes on
            if self._log.lasting.met(UNTOKENIZED):
                self._log.warn(messages.tokenizer_failed(error), tags)
            return None
        self._log.lasting.over(UNTOKENIZED)
        return tokens

    def book(
        self,
        role: Role,
        request: Request,
        tags: str,
        *,
        tokens: Sequence[int] | None = None,
        exclude: Sequence[str] = (),
        beside: str | None = None,
    ) -> Lease:
        """Choose and book in one step; `beside` is the url of a worker whose partner is chosen, for the same model.

        Raises `NoWorkerError`, `ModelNotFoundError`.
        """
        model = self._models.partner_model(beside, request.model) if beside is not None else None
        lease = self._scheduler.select(
            role, request, tags=tags, tokens=tokens, exclude=exclude, model=model, beside=beside
        )
        if lease is None:
            self.require_served(request.model)
            raise NoWorkerError("no healthy workers available")
        self._conduct.chosen(lease.url)
        return lease
