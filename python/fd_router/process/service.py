"""The composition root: builds everything that lives in the router's process, and ends it."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, TypeAlias

from fd_router._core import AccessLog
from fd_router.config import fingerprint
from fd_router.downstream.connections import ClientConnections
from fd_router.downstream.room import LOOK_SECS, Room
from fd_router.downstream.sockets import ClientSockets
from fd_router.edge.access import Access, exposures
from fd_router.edge.app import App
from fd_router.edge.control import Control
from fd_router.edge.inference import Inference
from fd_router.edge.listing import Listing
from fd_router.edge.overload import Overload
from fd_router.edge.routes import ADMIN_GUARDS, DATA_GUARDS, METHODS, Endpoints, table
from fd_router.edge.status import Status
from fd_router.edge.workers import Workers
from fd_router.fleet import orders, register_file
from fd_router.fleet.admission import Admission
from fd_router.fleet.conduct import Conduct
from fd_router.fleet.control_calls import ControlCalls
from fd_router.fleet.fanout import Aborts, Models
from fd_router.fleet.last_probes import LastProbes
from fd_router.fleet.learning import Learner
from fd_router.fleet.membership import Membership
from fd_router.fleet.monitor import Monitor
from fd_router.fleet.networks import Networks
from fd_router.fleet.orders import Orders
from fd_router.fleet.prober import Prober
from fd_router.fleet.register_file import RegisterFile
from fd_router.fleet.registry import Registry
from fd_router.fleet.remote_load import CACHE_POLICIES, RemoteLoad
from fd_router.fleet.remote_load import POLICIES as REMOTE_POLICIES
from fd_router.fleet.rows import Rows
from fd_router.fleet.states import States
from fd_router.observe import pulse
from fd_router.observe.logs import Log, messages
from fd_router.observe.metrics import Metrics
from fd_router.observe.pulse import Pulse
from fd_router.observe.stats_line import Stats
from fd_router.process import descriptors
from fd_router.process.handshakes import INTERVAL, Handshakes
from fd_router.routing.endpoints import EndpointDispatches
from fd_router.routing.mixed import MixedDispatch
from fd_router.routing.pairs import PairDispatch
from fd_router.routing.retry import Retries, RetryBudget
from fd_router.routing.scheduling import new_scheduler
from fd_router.routing.selection import Selector
from fd_router.routing.upkeep import EXPIRE_INTERVAL, RECORDING_INTERVAL, Upkeep
from fd_router.runtime import memory
from fd_router.runtime.periodic import Periodic
from fd_router.state.registrations import Registrations
from fd_router.upstream.engines import EngineApi
from fd_router.upstream.relay import Upstream
from fd_router.upstream.tokenizer import Tokenizer
from fd_router.upstream.trust import WATCH_INTERVAL, Trust

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from fd_router.config import Config, LogConfig, Notice
    from fd_router.routing.scheduling import Recorded
    from fd_router.routing.selection import Chooser
    from fd_router.state.store import Store
    from fd_router.types import Role


Round: TypeAlias = "Callable[[float], Awaitable[None]]"
RESTORE_SECS = 1.0
"""How long the start waits for workers that were kept; who is slower comes in while others are served."""


class Service:
    """Everything that lives in the worker process, in the order of its building."""

    def __init__(self, config: Config, notices: Sequence[Notice], store: Store) -> None:
        self._config = config
        self.log = log = Log(config.log)
        for notice in notices:
            (log.warn if notice.level == "WARN" else log.error)(messages.config_notice(notice.message))
        for exposure in exposures(config):
            log.warn(messages.exposed(exposure))
        policies = _policies(config)
        self._scheduler = scheduler = new_scheduler(
            config.scheduler,
            policies,
            metrics_interval_secs=config.manager.metrics_interval_secs,
            seed=time.time_ns(),
            journal=log.journal,
            record=_record(config.log),
        )
        self._metrics = metrics = Metrics()
        hop = secrets.token_hex(8)
        self._upstream = upstream = Upstream(config.upstream, hop=hop)
        routes = table(config.server.extra_paths)
        access_log = AccessLog(log.journal, METHODS, tuple(dict.fromkeys(route.path for route in routes)))
        self.shares = descriptors.shares(config.server, descriptors.limit())
        self._overload = Overload(config.server, log, connections=self.shares.clients)
        self._registry = registry = Registry(scheduler)
        manager, settings = config.manager, config.scheduler
        self._trust = trust = Trust(config.upstream.ca_file)
        trust.on_change(upstream.relay.reload_roots)
        self._api = EngineApi(
            manager.health_check_timeout_secs, trust, control_timeout_secs=manager.control_timeout_secs
        )
        self._tokenizer = (
            Tokenizer(settings.tokenizer_url, settings.tokenizer_timeout_secs, trust)
            if settings.tokenizer_url
            else None
        )
        reads_load = not REMOTE_POLICIES.isdisjoint(policies.values())
        self._remote_load = (
            RemoteLoad(
                registry,
                scheduler,
                log,
                manager.health_check_timeout_secs,
                trust=trust,
                reads_load=reads_load,
            )
            if reads_load or not CACHE_POLICIES.isdisjoint(policies.values())
            else None
        )
        clock = time.monotonic
        self._conduct = conduct = Conduct(
            manager.eject_after_failures,
            registry=registry,
            log=log,
            metrics=metrics,
            clock=clock,
            later=asyncio.get_running_loop().call_later,
        )
        self._learner = learner = Learner(
            registry,
            upstream,
            log,
            clock,
            timeout_secs=manager.health_check_timeout_secs,
            enabled=manager.models_interval_secs > 0,
            key=manager.engine_api_key.value,
        )
        self._members = members = Membership(config, registry, conduct, log, metrics)
        self._orders = ordered = Orders(
            members, conduct, scheduler, log, clock=clock, wall=time.time, limit=manager.max_workers
        )
        self._registrations = Registrations(store, members.registered, ordered.kept, log)
        self._probes = probes = LastProbes(members.knows, metrics, time.time)
        states = States(members, conduct, ordered, probes, clock=clock, wall=time.time)
        self._connect(states)
        metrics.bind(
            scheduler=scheduler,
            access=access_log,
            relay=upstream.relay,
            log=log,
            overload=self._overload,
            fleet=members,
        )
        self._monitor = Monitor(members, prober=self._prober(), upstream=upstream, log=log, clock=clock)
        # A prober of its own: registrations that hang must not keep the monitor from finding dead workers.
        self._admission = Admission(
            members,
            ordered,
            self._prober(),
            self._remote_load,
            learner=learner,
            log=log,
            networks=Networks(manager.allowed_networks),
            clock=clock,
            splitwise=config.server.splitwise,
        )
        selector = Selector(
            scheduler,
            policies,
            self._tokenizer,
            conduct=conduct,
            models=registry.models,
            learner=learner,
            log=log,
        )
        self._retries = Retries(
            scheduler, conduct, RetryBudget(clock), metrics, frozenset(config.upstream.retry_statuses)
        )
        self._pulse = Pulse(metrics.totals, clock)
        self._register_file = (
            RegisterFile(
                manager.register_path, self._admission, members, log, splitwise=config.server.splitwise
            )
            if manager.register_path
            else None
        )
        self._status = Status(members=members, models=Models(registry, learner, log, clock), metrics=metrics)
        inference = Inference(
            config.server,
            mixed=self._mixed(selector, self._retries),
            pairs=self._pairs(selector) if config.server.splitwise else None,
            specialists=EndpointDispatches(
                self._mixed,
                self._retries,
                scheduler=scheduler,
                selector=selector,
                members=members,
                conduct=conduct,
            ),
            overload=self._overload,
            log=log,
            hop=hop,
        )
        endpoints = Endpoints(
            inference=inference,
            control=Control(
                config.server,
                admission=self._admission,
                monitor=self._monitor,
                aborts=Aborts(registry, self._api),
                calls=ControlCalls(members, self._api, log),
                log=log,
            ),
            status=self._status,
            workers=Workers(
                config.server,
                rows=Rows(
                    members=members,
                    orders=ordered,
                    states=states,
                    probes=probes,
                    scheduler=scheduler,
                    metrics=metrics,
                ),
                orders=ordered,
                pulse=self._pulse,
                metrics=metrics,
                overload=self._overload,
                fingerprint=fingerprint(config),
            ),
        )
        access = Access(config)
        split = bool(config.server.admin_port)
        guards = DATA_GUARDS if split else DATA_GUARDS | ADMIN_GUARDS
        openai = config.server.error_format == "openai"
        self.app, self.admin_app = (
            App(
                Listing(routes, endpoints, guards=each, openai=openai),
                log,
                metrics,
                access_log,
                access=access,
                server=config.server,
            )
            for each in (guards, ADMIN_GUARDS)
        )
        self._rounds = self._background()

    def _connect(self, states: States) -> None:
        """Have those told of a change whom it concerns."""

        def ordered(url: str) -> None:
            states.note(url)
            self._registrations.changed()

        self._members.on_change = self._registrations.changed
        self._members.on_state = self._conduct.on_change = states.note
        self._orders.on_change = ordered
        states.on_gone = self._metrics.latest.forget

    def _prober(self) -> Prober:
        manager = self._config.manager
        return Prober(
            manager.health_check_endpoint,
            manager.health_check_timeout_secs,
            self._upstream,
            self.log,
            self._probes,
        )

    def _mixed(self, selector: Chooser, retries: Retries) -> MixedDispatch:
        return MixedDispatch(
            selector=selector,
            upstream=self._upstream,
            conduct=self._conduct,
            retries=retries,
            log=self.log,
            metrics=self._metrics,
            attempts=self._config.upstream.attempts,
        )

    def _pairs(self, selector: Selector) -> PairDispatch:
        return PairDispatch(
            selector=selector,
            registry=self._registry,
            upstream=self._upstream,
            conduct=self._conduct,
            retries=self._retries,
            log=self.log,
            metrics=self._metrics,
            attempts=self._config.upstream.pair_attempts,
            expose_worker_urls=self._config.server.expose_worker_urls,
        )

    def _background(self) -> list[Periodic]:
        manager, settings = self._config.manager, self._config.scheduler
        stats = Stats(self._scheduler, self.log)
        upkeep = Upkeep(self._scheduler, self._registry, self.log)
        server = self._config.server
        sockets = ClientSockets(server.port)
        active = self.app.active
        clients = ClientConnections(server, sockets, active=active, log=self.log, metrics=self._metrics)
        rounds: list[tuple[float, Round]] = [
            (manager.health_check_interval_secs, self._monitor.round),
            (settings.eviction_interval_secs, upkeep.reap),
            (settings.stats_interval_secs, stats.round),
            (EXPIRE_INTERVAL, upkeep.expire),
            (RECORDING_INTERVAL, upkeep.recording),
            (clients.interval, clients.round),
            *self._room(sockets),
            (WATCH_INTERVAL, self._trust.round),
            (orders.ROUND_SECS, self._orders.round),
            (pulse.ROUND_SECS, self._pulse.round),
        ]
        if self._register_file is not None:
            rounds.append((register_file.ROUND_SECS, self._register_file.round))
        if self._remote_load is not None:
            period = self._remote_load.period(manager.metrics_interval_secs)
            rounds.append((period, self._remote_load.round))
        if manager.models_interval_secs:
            rounds.append((manager.models_interval_secs, self._learner.round))
        return [Periodic(interval, action, self._round_failed) for interval, action in rounds]

    def _room(self, sockets: ClientSockets) -> Iterator[tuple[float, Round]]:
        """For each listener."""
        server = self._config.server
        handshakes = Handshakes(self.log)
        short = handshakes.short if server.tls_cert else lambda: False
        if server.tls_cert:
            yield INTERVAL, handshakes.round
        data = ("client connections (server.max-connections, ulimit -n)", self.shares.clients, self.app)
        yield LOOK_SECS, self._room_at(sockets, short, *data).round
        if server.admin_port:
            own = ClientSockets(server.admin_port)
            admin = ("connections of server.admin-port (ulimit -n)", self.shares.admin, self.admin_app)
            yield LOOK_SECS, self._room_at(own, short, *admin).round

    def _room_at(
        self, sockets: ClientSockets, short: Callable[[], bool], what: str, limit: int, app: App
    ) -> Room:
        return Room(
            sockets,
            what=what,
            limit=limit,
            spare=descriptors.SPARE,
            active=app.active,
            short=short,
            log=self.log,
            metrics=self._metrics,
        )

    def _round_failed(self, error: BaseException) -> None:
        self.log.error(messages.panic(error))

    async def start(self) -> None:
        """Register the instances that were kept, and the static ones, then begin the background rounds."""
        self._restoring = asyncio.get_running_loop().create_task(self._restore())
        await asyncio.wait([self._restoring], timeout=RESTORE_SECS)
        if self._register_file is not None:
            await self._register_file.round()
        self._restoring.add_done_callback(lambda _: self._orders.settle())
        for periodic in self._rounds:
            periodic.start()
        self._tell_limit()
        self.log.info(messages.starting(self._config.server.port))
        memory.settle()

    def _tell_limit(self) -> None:
        wanted, taken = self._config.server.max_connections, self.shares.clients
        tell = self.log.info if taken == wanted else self.log.warn
        tell(messages.descriptors(descriptors.limit(), taken, wanted))

    async def _restore(self) -> None:
        bodies, kept = self._registrations.load()
        self._orders.restore(kept)
        await self._admission.restore(bodies)
        self._registrations.begin()

    def drain(self) -> None:
        """From now on `/ready` says that the router is about to end, and so does every answer. Idempotent."""
        if not self._status.draining:
            self._status.draining = True
            self.app.closing = self.admin_app.closing = True
            self.log.info(messages.draining(self._overload.in_flight))

    def close_door(self) -> None:
        """From now on no inference request is taken."""
        self._overload.drain()

    def cut(self) -> None:
        """End every exchange with a worker, and so the requests: their clients are told, if they take it."""
        if self._overload.in_flight:
            self.log.warn(messages.cut(self._overload.in_flight))
        self._upstream.end()

    async def stop(self) -> None:
        """End the background, the exchanges under way and, last, the log."""
        for periodic in self._rounds:
            await periodic.stop()
        self._restoring.cancel()
        await asyncio.gather(self._restoring, self._registrations.close(), return_exceptions=True)
        for client in (self._api, self._tokenizer, self._remote_load, self._learner):
            if client is not None:
                await client.close()
        self._upstream.close()
        await asyncio.to_thread(self._scheduler.end_recording)
        self.log.close()


def _record(settings: LogConfig) -> Recorded | None:
    return (settings.record, settings.record_max_mb << 20, settings.record_files) if settings.record else None


def _policies(config: Config) -> dict[Role, str]:
    settings = config.scheduler
    if config.server.splitwise:
        return {"prefill": settings.prefill_policy, "decode": settings.decode_policy}
    return {"mixed": settings.policy}
