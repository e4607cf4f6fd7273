"""The parts of the service that know the fleet: who may be chosen, and how it is heard of them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from fd_router.config.address import parse
from fd_router.fleet.admission import Admission
from fd_router.fleet.conduct import Conduct
from fd_router.fleet.last_probes import LastProbes
from fd_router.fleet.learning import Learner
from fd_router.fleet.membership import Membership
from fd_router.fleet.monitor import Monitor
from fd_router.fleet.networks import Networks
from fd_router.fleet.orders import Orders
from fd_router.fleet.prober import Prober
from fd_router.fleet.register_file import RegisterFile
from fd_router.fleet.registry import Registry
from fd_router.fleet.remote_load import RemoteLoad
from fd_router.fleet.states import States
from fd_router.process.basis import policies_of
from fd_router.state.registrations import Registrations
from fd_router.upstream.engines import EngineApi

if TYPE_CHECKING:
    from fd_router.process.basis import Basis
    from fd_router.state.replica.replica import Replica
    from fd_router.state.store import Store


class FleetParts:
    """Everything of the room `fleet`, in the order of its building."""

    def __init__(self, basis: Basis, store: Store) -> None:
        self._basis = basis
        self.restored = False
        """Whether everybody who was kept has been probed."""
        manager, clock = basis.config.manager, basis.clock
        self.api = EngineApi(
            manager.health_check_timeout_secs, basis.trust, control_timeout_secs=manager.control_timeout_secs
        )
        self.registry = registry = Registry(basis.scheduler)
        self.remote_load = self._remote_load()
        self.conduct = Conduct(
            manager.eject_after_failures,
            registry=registry,
            log=basis.log,
            metrics=basis.metrics,
            clock=clock,
            later=asyncio.get_running_loop().call_later,
        )
        self.learner = self._learner()
        self.members = members = Membership(basis.config, registry, self.conduct, basis.log, basis.metrics)
        self.orders = Orders(
            members,
            self.conduct,
            basis.scheduler,
            basis.log,
            clock=clock,
            wall=time.time,
            limit=manager.max_workers,
        )
        self.registrations = Registrations(store, members.registered, self.orders.kept, basis.log)
        self.probes = LastProbes(members.knows, basis.metrics, time.time)
        self.states = States(members, self.conduct, self.orders, self.probes, clock=clock, wall=time.time)
        self.monitor = Monitor(
            members, prober=self._prober(), upstream=basis.upstream, log=basis.log, clock=clock
        )
        self._networks = Networks(manager.allowed_networks)
        self.admission = Admission(
            members,
            self.orders,
            # Of its own: registrations that hang must not keep the monitor from finding dead workers.
            self._prober(),
            self.remote_load,
            learner=self.learner,
            log=basis.log,
            networks=self._networks,
            clock=clock,
            splitwise=basis.config.server.splitwise,
        )
        self.replica = self._replica()
        self._connect()
        self.register_file = self._register_file()
        self._follow()

    def _connect(self) -> None:
        """Have those told of a change whom it concerns."""

        replica = self.replica

        def ordered(url: str) -> None:
            self.states.note(url)
            self.registrations.changed()
            if replica is not None:
                replica.ordered(url)

        def dropped(url: str, to: str | None) -> None:
            self.orders.dropped(url, to)
            if replica is not None:
                replica.dropped(url)

        if replica is not None:
            self.admission.on_registered = replica.registered
            self.admission.on_unregistered = replica.unregistered
        self.members.on_change = self.registrations.changed
        self.members.on_state = self.conduct.on_change = self.states.note
        self.members.on_dropped = dropped
        self.orders.on_change = ordered
        self.states.on_gone = self._basis.metrics.counted.forget

    def _follow(self) -> None:
        follow = self._basis.follow
        follow(lambda now: self.api.reconfigure(now.manager.health_check_timeout_secs))
        follow(lambda now: self.conduct.reconfigure(now.manager.eject_after_failures))
        follow(lambda now: self.members.reconfigure(now.manager))
        follow(lambda now: self.orders.reconfigure(now.manager.max_workers))
        follow(lambda now: self._networks.reconfigure(now.manager.allowed_networks))

    def _learner(self) -> Learner:
        basis, manager = self._basis, self._basis.config.manager
        learner = Learner(
            self.registry,
            basis.upstream,
            basis.log,
            basis.clock,
            timeout_secs=manager.health_check_timeout_secs,
            enabled=manager.models_interval_secs > 0,
            key=manager.engine_api_key.value,
        )
        basis.follow(
            lambda now: learner.reconfigure(
                now.manager.health_check_timeout_secs, now.manager.engine_api_key.value
            )
        )
        return learner

    def _remote_load(self) -> RemoteLoad:
        basis = self._basis
        remote_load = RemoteLoad(
            self.registry,
            basis.scheduler,
            basis.log,
            basis.config.manager.health_check_timeout_secs,
            trust=basis.trust,
            policies=policies_of(basis.config).values(),
            asks_start=bool(basis.config.server.state_path),
        )
        basis.follow(
            lambda now: remote_load.reconfigure(
                policies_of(now).values(), now.manager.health_check_timeout_secs
            )
        )
        return remote_load

    def _prober(self) -> Prober:
        basis, manager = self._basis, self._basis.config.manager
        prober = Prober(
            manager.health_check_endpoint,
            manager.health_check_timeout_secs,
            basis.upstream,
            basis.log,
            self.probes,
        )
        basis.follow(
            lambda now: prober.reconfigure(
                now.manager.health_check_endpoint, now.manager.health_check_timeout_secs
            )
        )
        return prober

    def _register_file(self) -> RegisterFile | None:
        basis = self._basis
        path, splitwise = basis.config.manager.register_path, basis.config.server.splitwise
        if not path:
            return None
        return RegisterFile(path, self.admission, self.members, basis.log, splitwise=splitwise)

    def _replica(self) -> Replica | None:
        basis, settings = self._basis, self._basis.config.cluster
        if not settings.url:
            return None
        from fd_router.state.replica.replica import Parts, Replica  # noqa: PLC0415

        parts = Parts(
            scheduler=basis.scheduler,
            members=self.members,
            admission=self.admission,
            orders=self.orders,
            log=basis.log,
            clock=basis.clock,
            wall=time.time,
        )
        return Replica(
            parse(settings.url.value),
            settings.name,
            basis.replica,
            parts,
            stream_bytes=settings.stream_mb << 20,
        )

    async def restore(self) -> None:
        """Let those in whom a process before this one knew, with what was ordered of them."""
        try:
            bodies, kept = self.registrations.load()
            self.orders.restore(kept)
            await self.admission.restore(bodies)
            self.registrations.begin()
        finally:
            self.restored = True
