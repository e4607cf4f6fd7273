"""The parts of the service that send requests to workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fd_router.process.basis import policies_of
from fd_router.routing.dispatch import Means
from fd_router.routing.endpoints import EndpointDispatches
from fd_router.routing.mixed import MixedDispatch
from fd_router.routing.pairs import PairDispatch
from fd_router.routing.retry import Retries, RetryBudget
from fd_router.routing.selection import Selector
from fd_router.upstream.tokenizer import Tokenizer

if TYPE_CHECKING:
    from fd_router.process.basis import Basis
    from fd_router.process.fleet_parts import FleetParts
    from fd_router.routing.selection import Chooser


class RoutingParts:
    """Everything of the room `routing` that a request meets."""

    def __init__(self, basis: Basis, fleet: FleetParts) -> None:
        self._basis = basis
        self._registry = fleet.registry
        self._means = Means(basis.upstream, fleet.conduct, basis.log, basis.metrics)
        settings = basis.config.scheduler
        self.tokenizer = (
            Tokenizer(settings.tokenizer_url, settings.tokenizer_timeout_secs, basis.trust)
            if settings.tokenizer_url
            else None
        )
        self._selector = selector = Selector(
            basis.scheduler,
            policies_of(basis.config),
            self.tokenizer,
            conduct=fleet.conduct,
            models=fleet.registry.models,
            learner=fleet.learner,
            log=basis.log,
        )
        basis.follow(lambda now: selector.reconfigure(policies_of(now)))
        self._retries = retries = Retries(
            basis.scheduler,
            fleet.conduct,
            RetryBudget(basis.clock),
            basis.metrics,
            basis.config.upstream.retry_statuses,
        )
        self.mixed = self._mixed(selector, retries)
        self.pairs = self._pairs() if basis.config.server.splitwise else None
        self.specialists = EndpointDispatches(
            self._mixed,
            retries,
            scheduler=basis.scheduler,
            selector=selector,
            members=fleet.members,
            conduct=fleet.conduct,
        )

    def _mixed(self, selector: Chooser, retries: Retries) -> MixedDispatch:
        basis = self._basis
        mixed = MixedDispatch(
            self._means,
            selector,
            retries,
            basis.config.upstream.attempts,
            expose_worker_urls=basis.config.server.expose_worker_urls,
        )
        basis.follow(lambda now: mixed.expose(now.server.expose_worker_urls))
        basis.follow(lambda now: mixed.set_attempts(now.upstream.attempts))
        basis.follow(lambda now: retries.reconfigure(now.upstream))
        return mixed

    def _pairs(self) -> PairDispatch:
        basis = self._basis
        pairs = PairDispatch(
            self._means,
            self._selector,
            self._retries,
            basis.config.upstream.pair_attempts,
            registry=self._registry,
            expose_worker_urls=basis.config.server.expose_worker_urls,
        )
        basis.follow(lambda now: pairs.set_attempts(now.upstream.pair_attempts))
        basis.follow(lambda now: pairs.expose(now.server.expose_worker_urls))
        return pairs
