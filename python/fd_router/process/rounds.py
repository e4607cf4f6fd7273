"""What the router does from time to time."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from fd_router.downstream.connections import ClientConnections
from fd_router.downstream.room import LOOK_SECS, Room
from fd_router.downstream.sockets import ClientSockets
from fd_router.fleet import orders, register_file
from fd_router.observe import pulse
from fd_router.observe.logs import lasting, messages
from fd_router.observe.stats_line import Stats
from fd_router.process import descriptors
from fd_router.process.handshakes import INTERVAL, Handshakes
from fd_router.routing.upkeep import EXPIRE_INTERVAL, RECORDING_INTERVAL, Upkeep
from fd_router.runtime.periodic import Periodic
from fd_router.state import snapshot
from fd_router.upstream.trust import WATCH_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from fd_router.config import Config
    from fd_router.edge.app import App
    from fd_router.process.basis import Basis
    from fd_router.process.descriptors import Shares
    from fd_router.process.edge_parts import EdgeParts
    from fd_router.process.fleet_parts import FleetParts
    from fd_router.state.snapshot import Snapshots

Round: TypeAlias = "Callable[[float], Awaitable[None]]"


class Rounds:
    """Every background round, to be started once and ended in order."""

    def __init__(
        self,
        basis: Basis,
        fleet: FleetParts,
        edge: EdgeParts,
        shares: Shares,
        *,
        settle: Round,
        snapshots: Snapshots,
    ) -> None:
        self._basis = basis
        self._edge = edge
        self._shares = shares
        self._sockets = ClientSockets(basis.config.server.port)
        self._all = [
            *self._of_fleet(fleet, settle),
            *self._of_clients(),
            *self._of_scheduler(fleet),
            self._fixed(snapshot.ROUND_SECS, snapshots.round),
        ]

    def start(self) -> None:
        """Begin."""
        for periodic in self._all:
            periodic.start()

    async def stop(self) -> None:
        """End, each after the round that is under way."""
        for periodic in self._all:
            await periodic.stop()

    def _of_fleet(self, fleet: FleetParts, settle: Round) -> Iterator[Periodic]:
        manager, remote_load = self._basis.config.manager, fleet.remote_load
        yield self._live(lambda now: now.manager.health_check_interval_secs, fleet.monitor.round)
        yield self._live(lambda now: remote_load.period(now.manager.metrics_interval_secs), remote_load.round)
        yield self._fixed(orders.ROUND_SECS, fleet.orders.round)
        yield self._fixed(orders.ROUND_SECS, settle)
        yield self._fixed(WATCH_INTERVAL, self._basis.trust.round)
        if fleet.replica is not None:
            yield self._fixed(fleet.replica.watch_secs, fleet.replica.watch)
        if manager.models_interval_secs:
            yield self._fixed(manager.models_interval_secs, fleet.learner.round)
        if fleet.register_file is not None:
            looks = self._fixed(register_file.ROUND_SECS, fleet.register_file.round)
            self._basis.follow(lambda _: looks.hurry())
            yield looks

    def _of_clients(self) -> Iterator[Periodic]:
        basis = self._basis
        clients = ClientConnections(
            basis.config.server,
            self._sockets,
            active=self._edge.app.active,
            log=basis.log,
            metrics=basis.metrics,
        )
        basis.follow(lambda now: clients.reconfigure(now.server))
        yield self._live(lambda _: clients.interval, clients.round)
        yield self._fixed(pulse.ROUND_SECS, self._edge.pulse.round)
        yield self._fixed(lasting.ROUND_SECS, basis.log.lasting.round)
        yield from self._rooms()

    def _of_scheduler(self, fleet: FleetParts) -> Iterator[Periodic]:
        basis = self._basis
        upkeep = Upkeep(basis.scheduler, fleet.registry, basis.log)
        stats = Stats(basis.scheduler, basis.log)
        yield self._live(lambda now: now.scheduler.eviction_interval_secs, upkeep.reap)
        yield self._live(lambda now: now.scheduler.stats_interval_secs, stats.round)
        yield self._fixed(EXPIRE_INTERVAL, upkeep.expire)
        yield self._fixed(RECORDING_INTERVAL, upkeep.recording)

    def _rooms(self) -> Iterator[Periodic]:
        """For each listener."""
        server = self._basis.config.server
        handshakes = Handshakes(self._basis.log)
        short = handshakes.short if server.tls_cert else lambda: False
        if server.tls_cert:
            yield self._fixed(INTERVAL, handshakes.round)
        what = "client connections (server.max-connections, ulimit -n)"
        yield self._room(self._sockets, short, what, self._shares.clients, self._edge.app)
        if server.admin_port:
            own = ClientSockets(server.admin_port)
            what = "connections of server.admin-port (ulimit -n)"
            yield self._room(own, short, what, self._shares.admin, self._edge.admin_app)

    def _room(
        self, sockets: ClientSockets, short: Callable[[], bool], what: str, limit: int, app: App
    ) -> Periodic:
        room = Room(
            sockets,
            what=what,
            limit=limit,
            spare=descriptors.SPARE,
            active=app.active,
            short=short,
            log=self._basis.log,
            metrics=self._basis.metrics,
        )
        return self._fixed(LOOK_SECS, room.round)

    def _fixed(self, interval: float, action: Round) -> Periodic:
        return Periodic(interval, action, self._failed)

    def _live(self, interval: Callable[[Config], float], action: Round) -> Periodic:
        """A round whose interval a reload may change."""
        periodic = Periodic(interval(self._basis.config), action, self._failed)
        self._basis.follow(lambda now: periodic.set_interval(interval(now)))
        return periodic

    def _failed(self, error: BaseException) -> None:
        told = messages.panic(error)
        if self._basis.log.lasting.met(told, events=True):
            self._basis.log.error(told)
