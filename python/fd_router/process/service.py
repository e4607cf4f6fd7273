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
from fd_router.fleet.remote_load import RemoteLoad
from fd_router.fleet.rows import Rows
from fd_router.fleet.states import States
from fd_router.observe import pulse
from fd_router.observe.logs import Log, messages
from fd_router.observe.metrics import Metrics
from fd_router.observe.pulse import Pulse
from fd_router.observe.stats_line import Stats
from fd_router.process import descriptors
from fd_router.process.handshakes import INTERVAL, Handshakes
from fd_router.process.reload import Reloading
from fd_router.routing.endpoints import EndpointDispatches
from fd_router.routing.mixed import MixedDispatch
from fd_router.routing.pairs import PairDispatch
from fd_router.routing.retry import Retries, RetryBudget
from fd_router.routing.scheduling import arguments, new_scheduler
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
    from fd_router.process.in_force import InForce
    from fd_router.process.reload import Load
    from fd_router.routing.scheduling import Recorded
    from fd_router.routing.selection import Chooser
    from fd_router.state.store import Store
    from fd_router.types import Role


Round: TypeAlias = "Callable[[float], Awaitable[None]]"
RESTORE_SECS = 1.0
"""How long the start waits for workers that were kept; who is slower comes in while others are served."""


class Service:
    """Everything that lives in the worker process, in the order of its building."""

    def __init__(self, in_force: InForce, notices: Sequence[Notice], load: Load, store: Store) -> None:
        self.config = config = in_force.get()
        self._following: list[Callable[[Config], object]] = []
        self.log = log = Log(config.log)
        self._tell(notices)
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
        self._remote_load = remote_load = self._remote()
        clock = time.monotonic
        self._conduct = conduct = Conduct(
            manager.eject_after_failures,
            registry=registry,
            log=log,
            metrics=metrics,
            clock=clock,
            later=asyncio.get_running_loop().call_later,
        )
        self._learner = learner = self._learning()
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
        networks = Networks(manager.allowed_networks)
        # A prober of its own: registrations that hang must not keep the monitor from finding dead workers.
        self._admission = Admission(
            members,
            ordered,
            self._prober(),
            remote_load,
            learner=learner,
            log=log,
            networks=networks,
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
            scheduler, conduct, RetryBudget(clock), metrics, config.upstream.retry_statuses
        )
        self._pulse = Pulse(metrics.totals, clock)
        self._register_file = self._file(members)
        self._status = Status(members=members, models=Models(registry, learner, log, clock), metrics=metrics)
        workers = self._workers(states)
        self.reloading = Reloading(load, in_force, apply=self._reconfigure, log=log)
        inference = self._inference(selector, hop)
        endpoints = Endpoints(
            inference=inference, control=self._control(), status=self._status, workers=workers
        )
        access = Access(config)
        self._following += [
            lambda now: log.set_level(now.log.level),
            self._retune,
            lambda now: self._overload.reconfigure(now.server),
            lambda now: self._api.reconfigure(now.manager.health_check_timeout_secs),
            lambda now: conduct.reconfigure(now.manager.eject_after_failures),
            lambda now: members.reconfigure(now.manager),
            lambda now: ordered.reconfigure(now.manager.max_workers),
            lambda now: networks.reconfigure(now.manager.allowed_networks),
            lambda now: selector.reconfigure(_policies(now)),
            access.reconfigure,
        ]
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
        self._members.on_dropped = self._orders.dropped
        states.on_gone = self._metrics.latest.forget

    def _tell(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            tell = self.log.warn if notice.level == "WARN" else self.log.error
            tell(messages.config_notice(notice.message))
        for exposure in exposures(self.config):
            self.log.warn(messages.exposed(exposure))

    def _follow(self, apply: Callable[[Config], object]) -> None:
        """Have a part told of the configuration that is in force after a reload."""
        self._following.append(apply)

    def _reconfigure(self, config: Config) -> None:
        """Go by another configuration, of which only live keys differ."""
        for apply in self._following:
            apply(config)
        for exposure in sorted({*exposures(config)} - {*exposures(self.config)}):
            self.log.warn(messages.exposed(exposure))
        self.config = config

    def _retune(self, config: Config) -> None:
        interval = config.manager.metrics_interval_secs
        # Policies begin anew, with their cursors.
        if (
            config.scheduler == self.config.scheduler
            and interval == self.config.manager.metrics_interval_secs
        ):
            return
        self._scheduler.retune(
            arguments(
                config.scheduler, _policies(config), metrics_interval_secs=interval, seed=time.time_ns()
            )
        )

    def reopen_log(self) -> None:
        """Let go of log files that were moved away."""
        self.log.reopen()
        self.log.info(messages.log_reopened())

    def _learning(self) -> Learner:
        manager = self.config.manager
        learner = Learner(
            self._registry,
            self._upstream,
            self.log,
            time.monotonic,
            timeout_secs=manager.health_check_timeout_secs,
            enabled=manager.models_interval_secs > 0,
            key=manager.engine_api_key.value,
        )
        self._follow(
            lambda now: learner.reconfigure(
                now.manager.health_check_timeout_secs, now.manager.engine_api_key.value
            )
        )
        return learner

    def _file(self, members: Membership) -> RegisterFile | None:
        path, splitwise = self.config.manager.register_path, self.config.server.splitwise
        if not path:
            return None
        return RegisterFile(path, self._admission, members, self.log, splitwise=splitwise)

    def _workers(self, states: States) -> Workers:
        workers = Workers(
            self.config.server,
            rows=Rows(
                members=self._members,
                orders=self._orders,
                states=states,
                probes=self._probes,
                scheduler=self._scheduler,
                metrics=self._metrics,
            ),
            orders=self._orders,
            pulse=self._pulse,
            metrics=self._metrics,
            overload=self._overload,
            fingerprint=fingerprint(self.config),
        )
        self._follow(lambda now: workers.reconfigure(now.server, fingerprint(now)))
        return workers

    def _remote(self) -> RemoteLoad:
        remote_load = RemoteLoad(
            self._registry,
            self._scheduler,
            self.log,
            self.config.manager.health_check_timeout_secs,
            trust=self._trust,
            policies=_policies(self.config).values(),
        )
        self._follow(
            lambda now: remote_load.reconfigure(
                _policies(now).values(), now.manager.health_check_timeout_secs
            )
        )
        return remote_load

    def _control(self) -> Control:
        control = Control(
            self.config.server,
            admission=self._admission,
            monitor=self._monitor,
            aborts=Aborts(self._registry, self._api),
            calls=ControlCalls(self._members, self._api, self.log),
            reload=self.reloading.reload,
            log=self.log,
        )
        self._follow(lambda now: control.reconfigure(now.server))
        return control

    def _prober(self) -> Prober:
        manager = self.config.manager
        prober = Prober(
            manager.health_check_endpoint,
            manager.health_check_timeout_secs,
            self._upstream,
            self.log,
            self._probes,
        )
        self._follow(
            lambda now: prober.reconfigure(
                now.manager.health_check_endpoint, now.manager.health_check_timeout_secs
            )
        )
        return prober

    def _inference(self, selector: Selector, hop: str) -> Inference:
        inference = Inference(
            self.config.server,
            mixed=self._mixed(selector, self._retries),
            pairs=self._pairs(selector) if self.config.server.splitwise else None,
            specialists=EndpointDispatches(
                self._mixed,
                self._retries,
                scheduler=self._scheduler,
                selector=selector,
                members=self._members,
                conduct=self._conduct,
            ),
            overload=self._overload,
            log=self.log,
            hop=hop,
        )
        self._follow(lambda now: inference.reconfigure(now.server))
        return inference

    def _mixed(self, selector: Chooser, retries: Retries) -> MixedDispatch:
        mixed = MixedDispatch(
            selector=selector,
            upstream=self._upstream,
            conduct=self._conduct,
            retries=retries,
            log=self.log,
            metrics=self._metrics,
            attempts=self.config.upstream.attempts,
        )
        self._follow(lambda now: mixed.reconfigure(now.upstream.attempts))
        self._follow(lambda now: retries.reconfigure(now.upstream))
        return mixed

    def _pairs(self, selector: Selector) -> PairDispatch:
        pairs = PairDispatch(
            selector=selector,
            registry=self._registry,
            upstream=self._upstream,
            conduct=self._conduct,
            retries=self._retries,
            log=self.log,
            metrics=self._metrics,
            attempts=self.config.upstream.pair_attempts,
            expose_worker_urls=self.config.server.expose_worker_urls,
        )
        self._follow(
            lambda now: pairs.reconfigure(
                now.upstream.pair_attempts, expose_worker_urls=now.server.expose_worker_urls
            )
        )
        return pairs

    def _background(self) -> list[Periodic]:
        stats = Stats(self._scheduler, self.log)
        upkeep = Upkeep(self._scheduler, self._registry, self.log)
        server = self.config.server
        sockets = ClientSockets(server.port)
        active = self.app.active
        clients = ClientConnections(server, sockets, active=active, log=self.log, metrics=self._metrics)
        self._follow(lambda now: clients.reconfigure(now.server))
        remote_load = self._remote_load
        fixed: list[tuple[float, Round]] = [
            (EXPIRE_INTERVAL, upkeep.expire),
            (RECORDING_INTERVAL, upkeep.recording),
            *self._room(sockets),
            (WATCH_INTERVAL, self._trust.round),
            (orders.ROUND_SECS, self._orders.round),
            (orders.ROUND_SECS, self._settle_orders),
            (pulse.ROUND_SECS, self._pulse.round),
        ]
        if self.config.manager.models_interval_secs:
            fixed.append((self.config.manager.models_interval_secs, self._learner.round))
        rounds = [
            *(Periodic(interval, action, self._round_failed) for interval, action in fixed),
            self._round(lambda now: now.manager.health_check_interval_secs, self._monitor.round),
            self._round(lambda now: now.scheduler.eviction_interval_secs, upkeep.reap),
            self._round(lambda now: now.scheduler.stats_interval_secs, stats.round),
            self._round(lambda _: clients.interval, clients.round),
            self._round(lambda now: remote_load.period(now.manager.metrics_interval_secs), remote_load.round),
        ]
        if self._register_file is not None:
            looks = Periodic(register_file.ROUND_SECS, self._register_file.round, self._round_failed)
            self._follow(lambda _: looks.hurry())
            rounds.append(looks)
        return rounds

    def _round(self, interval: Callable[[Config], float], action: Round) -> Periodic:
        """A round whose interval a reload may change."""
        periodic = Periodic(interval(self.config), action, self._round_failed)
        self._follow(lambda now: periodic.set_interval(interval(now)))
        return periodic

    def _room(self, sockets: ClientSockets) -> Iterator[tuple[float, Round]]:
        """For each listener."""
        server = self.config.server
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
        for periodic in self._rounds:
            periodic.start()
        self._tell_limit()
        self.log.info(messages.starting(self.config.server.port))
        memory.settle()

    def _tell_limit(self) -> None:
        wanted, taken = self.config.server.max_connections, self.shares.clients
        tell = self.log.info if taken == wanted else self.log.warn
        tell(messages.descriptors(descriptors.limit(), taken, wanted))

    async def _settle_orders(self, _late: float) -> None:
        """Of whom nobody knows any more nothing is ordered, once everybody who was kept or is named had a chance."""
        if self._restoring.done() and (self._register_file is None or self._register_file.settled):
            self._orders.settle()

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
        await self.reloading.stop()
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
