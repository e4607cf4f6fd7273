"""The composition root: builds everything that lives in the router's process, and ends it."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING

from fd_router.edge.access import exposures
from fd_router.observe.logs import Log, messages
from fd_router.observe.metrics import Metrics
from fd_router.process import descriptors
from fd_router.process.basis import Basis, policies_of
from fd_router.process.edge_parts import EdgeParts
from fd_router.process.fleet_parts import FleetParts
from fd_router.process.reload import Reloading
from fd_router.process.rounds import Rounds
from fd_router.process.routing_parts import RoutingParts
from fd_router.routing.scheduling import arguments, new_scheduler
from fd_router.runtime import memory
from fd_router.state.replica.name import own_name
from fd_router.state.snapshot import FILE_NAME, RETURN_SECS, Snapshots
from fd_router.state.store import FileStore
from fd_router.upstream.relay import Upstream
from fd_router.upstream.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fd_router._core import Scheduler
    from fd_router.config import Config, LogConfig, Notice
    from fd_router.observe.tracing import Tracing
    from fd_router.process.in_force import InForce
    from fd_router.process.reload import Load
    from fd_router.routing.scheduling import Recorded
    from fd_router.state.store import Store

RESTORE_SECS = 1.0
"""How long the start waits for workers that were kept; who is slower comes in while others are served."""


class Service:
    """Everything that lives in the worker process, in the order of its building."""

    def __init__(self, in_force: InForce, notices: Sequence[Notice], load: Load, store: Store) -> None:
        config = in_force.get()
        self.log = log = Log(config.log)
        self._tell(config, notices)
        hop = secrets.token_hex(8)
        upstream = Upstream(config.upstream, hop=hop)
        trust = Trust(config.upstream.ca_file)
        trust.on_change(upstream.relay.reload_roots)
        self._tracing = _tracing(config.log, log)
        replica = own_name()
        metrics = Metrics()
        scheduler = _scheduler(config, log, metrics, replica if config.cluster.url else None)
        self._basis = basis = Basis(config, log, metrics, scheduler, upstream, trust, replica, self._tracing)
        basis.follow(lambda now: log.set_level(now.log.level))
        basis.follow(self._retune)
        self.shares = descriptors.shares(config.server, descriptors.limit())
        self.reloading = Reloading(load, in_force, apply=self._reconfigure, log=log)
        self._fleet = FleetParts(basis, store)
        self.snapshots = _snapshots(basis, store)
        self._routing = RoutingParts(basis, self._fleet)
        self._edge = edge = EdgeParts(
            basis, self._fleet, self._routing, self.reloading, clients=self.shares.clients, hop=hop
        )
        self.app, self.admin_app = edge.app, edge.admin_app
        basis.metrics.bind(
            scheduler=basis.scheduler,
            access=edge.access_log,
            relay=upstream.relay,
            log=log,
            overload=edge.overload,
            fleet=self._fleet.members,
            snapshots=self.snapshots,
            cluster=self._fleet.replica,
        )
        self._rounds = Rounds(
            basis, self._fleet, edge, self.shares, settle=self._settle, snapshots=self.snapshots
        )

    @property
    def config(self) -> Config:
        """The configuration that is in force."""
        return self._basis.config

    def _tell(self, config: Config, notices: Sequence[Notice]) -> None:
        for notice in notices:
            tell = self.log.warn if notice.level == "WARN" else self.log.error
            tell(messages.config_notice(notice.message))
        for exposure in exposures(config):
            self.log.warn(messages.exposed(exposure))

    def _reconfigure(self, config: Config) -> None:
        """Go by another configuration, of which only live keys differ."""
        known = {*exposures(self.config)}
        self._basis.reconfigure(config)
        for exposure in sorted({*exposures(config)} - known):
            self.log.warn(messages.exposed(exposure))

    def _retune(self, config: Config) -> None:
        before, interval = self.config, config.manager.metrics_interval_secs
        # Policies begin anew, with their cursors.
        if config.scheduler != before.scheduler or interval != before.manager.metrics_interval_secs:
            self._basis.scheduler.retune(
                arguments(
                    config.scheduler,
                    policies_of(config),
                    metrics_interval_secs=interval,
                    seed=time.time_ns(),
                )
            )

    def reopen_log(self) -> None:
        """Let go of log files that were moved away."""
        self.log.reopen()
        self.log.info(messages.log_reopened())

    async def start(self) -> None:
        """Go on from the snapshot, register instances that were kept, and static ones; then begin the rounds."""
        self._begun = self._basis.clock()
        await asyncio.to_thread(self.snapshots.load)
        self._restoring = asyncio.get_running_loop().create_task(self._fleet.restore())
        await asyncio.wait([self._restoring], timeout=RESTORE_SECS)
        if self._fleet.replica is not None:
            self._fleet.replica.start()
        if self._fleet.register_file is not None:
            await self._fleet.register_file.round()
        self._rounds.start()
        self._tell_limit()
        self.log.info(messages.starting(self.config.server.port))
        memory.settle()

    def _tell_limit(self) -> None:
        wanted, taken = self.config.server.max_connections, self.shares.clients
        tell = self.log.info if taken == wanted else self.log.warn
        tell(messages.descriptors(descriptors.limit(), taken, wanted))

    async def _settle(self, _late: float) -> None:
        """Of whom nobody knows any more nothing is ordered, once everybody who was kept or is named had a chance.

        Nor is what the snapshot says believed of who is not in service some time after that.
        """
        file = self._fleet.register_file
        if self._restoring.done() and (file is None or file.settled):
            self._fleet.orders.settle()
            if self._basis.clock() > self._begun + RETURN_SECS:
                self._basis.scheduler.settle()

    def drain(self) -> None:
        """From now on `/ready` says that the router is about to end, and so does every answer. Idempotent."""
        edge = self._edge
        if not edge.status.draining:
            edge.status.draining = True
            edge.close()
            self.log.info(messages.draining(edge.overload.in_flight))

    def close_door(self) -> None:
        """From now on no inference request is taken."""
        self._edge.overload.drain()

    def cut(self) -> None:
        """End every exchange with a worker, and so the requests: their clients are told, if they take it."""
        if self._edge.overload.in_flight:
            self.log.warn(messages.cut(self._edge.overload.in_flight))
        self._basis.upstream.end()
        self.snapshots.begin()

    async def stop(self) -> None:
        """End the background, the exchanges under way and, last, the log."""
        await self.reloading.stop()
        await self._rounds.stop()
        self.snapshots.begin()
        self._restoring.cancel()
        await asyncio.gather(self._restoring, self._fleet.registrations.close(), return_exceptions=True)
        fleet = self._fleet
        for client in (fleet.replica, fleet.api, self._routing.tokenizer, fleet.remote_load, fleet.learner):
            if client is not None:
                await client.close()
        self._basis.upstream.close()
        await asyncio.to_thread(self._basis.scheduler.end_recording)
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)
        await asyncio.to_thread(self.snapshots.end)
        self.log.close()


def _snapshots(basis: Basis, store: Store) -> Snapshots:
    """Beside the registrations, where these are in a file."""
    file = store.beside(FILE_NAME) if isinstance(store, FileStore) else None
    return Snapshots(file, basis.scheduler, basis.log, clock=basis.clock, wall=time.time)


def _scheduler(config: Config, log: Log, metrics: Metrics, replica: str | None) -> Scheduler:
    return new_scheduler(
        config.scheduler,
        policies_of(config),
        metrics_interval_secs=config.manager.metrics_interval_secs,
        seed=time.time_ns(),
        journal=log.journal,
        record=_record(config.log),
        replica=replica,
        answers=metrics.counted,
    )


def _tracing(settings: LogConfig, log: Log) -> Tracing | None:
    if not settings.tracing:
        return None
    # OpenTelemetry is there with an extra only, and takes its time and memory.
    from fd_router.observe.tracing import Tracing  # noqa: PLC0415

    return Tracing(log)


def _record(settings: LogConfig) -> Recorded | None:
    return (settings.record, settings.record_max_mb << 20, settings.record_files) if settings.record else None
