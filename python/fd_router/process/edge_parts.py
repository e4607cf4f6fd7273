"""The parts of the service that clients and operators speak with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fd_router._core import AccessLog
from fd_router.config import fingerprint
from fd_router.edge.access import Access
from fd_router.edge.app import App
from fd_router.edge.body import MIB
from fd_router.edge.control import Control
from fd_router.edge.dashboard import Dashboard
from fd_router.edge.decisions import Decisions
from fd_router.edge.inference import Inference
from fd_router.edge.listing import Listing
from fd_router.edge.overload import Overload
from fd_router.edge.overview import Overview, Told
from fd_router.edge.routes import ADMIN_GUARDS, DATA_GUARDS, METHODS, Endpoints, paths_of, table
from fd_router.edge.status import Status
from fd_router.edge.workers import Workers
from fd_router.fleet.control_calls import ControlCalls
from fd_router.fleet.fanout import Aborts, Models
from fd_router.fleet.rows import Rows
from fd_router.observe.pulse import Pulse
from fd_router.process.basis import policies_of

if TYPE_CHECKING:
    from fd_router.config import Config
    from fd_router.process.basis import Basis
    from fd_router.process.fleet_parts import FleetParts
    from fd_router.process.reload import Reloading
    from fd_router.process.routing_parts import RoutingParts


class EdgeParts:
    """Everything of the room `edge`, and the ASGI applications of both listeners."""

    def __init__(
        self,
        basis: Basis,
        fleet: FleetParts,
        routing: RoutingParts,
        reloading: Reloading,
        *,
        clients: int,
        hop: str,
    ) -> None:
        """So many `clients` may have a request at a time; `hop` is what the router adds to requests that it sends."""
        self._basis = basis
        self._fleet = fleet
        self._routing = routing
        self._reloading = reloading
        server = basis.config.server
        routes = table(server.extra_paths)
        self.access_log = AccessLog(basis.log.journal, METHODS, paths_of(routes))
        self.overload = overload = Overload(server, basis.log, connections=clients)
        basis.follow(lambda now: overload.reconfigure(now.server))
        self.pulse = Pulse(self._totals, basis.clock)
        models = Models(fleet.registry, fleet.learner, basis.log, basis.clock)
        self.status = Status(
            members=fleet.members, models=models, metrics=basis.metrics, restored=lambda: fleet.restored
        )
        rows = Rows(
            members=fleet.members,
            orders=fleet.orders,
            states=fleet.states,
            probes=fleet.probes,
            scheduler=basis.scheduler,
            metrics=basis.metrics,
        )
        endpoints = Endpoints(
            inference=self._inference(hop),
            control=self._control(),
            status=self.status,
            overview=self._overview(rows),
            workers=self._workers(rows),
            decisions=Decisions(basis.scheduler),
            dashboard=Dashboard(),
        )
        access = Access(basis.config)
        basis.follow(access.reconfigure)
        guards = DATA_GUARDS if server.admin_port else DATA_GUARDS | ADMIN_GUARDS
        self.app, self.admin_app = (
            App(
                Listing(routes, endpoints, guards=each, openai=server.error_format == "openai"),
                basis.log,
                basis.metrics,
                self.access_log,
                access=access,
                server=server,
                tracing=basis.tracing,
            )
            for each in (guards, ADMIN_GUARDS)
        )

    def _inference(self, hop: str) -> Inference:
        basis, routing = self._basis, self._routing
        inference = Inference(
            basis.config.server,
            mixed=routing.mixed,
            pairs=routing.pairs,
            specialists=routing.specialists,
            overload=self.overload,
            log=basis.log,
            hop=hop,
        )
        basis.follow(lambda now: inference.reconfigure(now.server))
        return inference

    def _control(self) -> Control:
        basis, fleet = self._basis, self._fleet
        control = Control(
            basis.config.server,
            admission=fleet.admission,
            monitor=fleet.monitor,
            aborts=Aborts(fleet.members, fleet.api),
            calls=ControlCalls(fleet.members, fleet.api, basis.log),
            reload=self._reloading.reload,
            log=basis.log,
        )
        basis.follow(lambda now: control.reconfigure(now.server))
        return control

    def _overview(self, rows: Rows) -> Overview:
        basis = self._basis
        replica = self._fleet.replica
        overview = Overview(
            told(basis.config),
            rows=rows,
            pulse=self.pulse,
            metrics=basis.metrics,
            overload=self.overload,
            scheduler=basis.scheduler,
            missing=self.status.missing,
            cluster=replica.status if replica is not None else None,
        )
        basis.follow(lambda now: overview.reconfigure(told(now)))
        return overview

    def _workers(self, rows: Rows) -> Workers:
        basis = self._basis
        workers = Workers(basis.config.server, rows=rows, orders=self._fleet.orders)
        basis.follow(lambda now: workers.reconfigure(now.server))
        return workers

    def _totals(self) -> tuple[int, ...]:
        """Answers, failed ones, prompt tokens, cached ones."""
        truth = self._basis.scheduler.truth()
        return (*self._basis.metrics.totals(), truth.prompt, truth.cached)

    def close(self) -> None:
        """From now on every answer says that its connection ends with it."""
        self.app.closing = self.admin_app.closing = True


def told(config: Config) -> Told:
    """What of a configuration is shown."""
    return Told(
        fingerprint=fingerprint(config),
        policies=policies_of(config),
        max_in_flight=config.server.max_in_flight,
        tree_bytes=config.scheduler.cache_max_memory_mb * MIB,
    )
