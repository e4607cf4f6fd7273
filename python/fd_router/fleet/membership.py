"""The fleet: every worker's standing, and what its coming and going means to registry, log and metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fd_router.errors import RegistrationError
from fd_router.fleet.health import HealthRules, WorkerHealth
from fd_router.observe.logs import messages
from fd_router.types import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router.config import Config, ManagerConfig
    from fd_router.fleet.conduct import Conduct
    from fd_router.fleet.health import Trial
    from fd_router.fleet.registry import Registry
    from fd_router.observe.logs import Log
    from fd_router.observe.metrics import Metrics
    from fd_router.types import Instance, Role, Source


class Membership:
    """Workers in service, which are in the registry, and lost ones on probation, which only wait for their return.

    Who is named by the register file, or was taken out by an order, is known for good: it is probed on however long it
    is lost.
    """

    def __init__(
        self, config: Config, registry: Registry, conduct: Conduct, log: Log, metrics: Metrics
    ) -> None:
        self.registry = registry
        self._conduct = conduct
        self.splitwise = config.server.splitwise
        self._log = log
        self._metrics = metrics
        self._standings: dict[str, WorkerHealth] = {}
        self._lost: dict[str, Instance] = {}
        self._of_file: dict[str, str | None] = {}
        """Those of the register file, with the name of the host where the file has one."""
        self._given: dict[str, tuple[str, ...]] = {}
        """Of those, the models that the file names."""
        self._own: set[str] = set()
        """Those who registered by themselves."""
        self.on_change: Callable[[], object] = lambda: None
        """Called when `watched` says something else than before."""
        self.on_state: Callable[[str], object] = lambda _: None
        """Called with the url of a worker that came, was lost, is back, or is not known any more."""
        self.on_dropped: Callable[[str, str | None], object] = lambda _url, _to: None
        """Called with the url of a worker that the register file took out, and where it moved instead, if it did."""
        self.reconfigure(config.manager)

    def reconfigure(self, manager: ManagerConfig) -> None:
        """Judge by other rules from now on, and let so many in; nobody is taken out for that."""
        self._limit = manager.max_workers
        self.rules = HealthRules(
            failure_threshold=manager.health_failure_threshold,
            success_threshold=manager.health_success_threshold,
            timeout_secs=manager.health_check_timeout_secs,
            interval_secs=manager.health_check_interval_secs,
            forget_after_secs=manager.forget_after_secs,
        )
        for standing in self._standings.values():
            standing.rules = self.rules

    def knows(self, url: str) -> bool:
        """Whether a worker is in service or on probation."""
        return url in self._standings

    def health(self, url: str) -> WorkerHealth | None:
        """What its probes say of a worker; None for one that is not known."""
        return self._standings.get(url)

    def get(self, url: str) -> Instance | None:
        """What a known worker said of itself."""
        return self.registry.get(url) or self._lost.get(url)

    def host_name(self, url: str) -> str | None:
        """The name that the register file has for a worker's host."""
        return self._of_file.get(url)

    def source(self, url: str) -> Source:
        """How it became known; the register file's word goes before its own."""
        if url in self._of_file:
            return "file"
        return "register" if url in self._own else "cluster"

    def up(self) -> list[tuple[str, Role, bool]]:
        """(url, role, whether it answers its probes and is not ejected) of everybody. Safe from any thread."""
        found = []
        for url in list(self._standings):
            instance = self.get(url)
            if instance is not None:
                up = url in self.registry and not self._conduct.is_out(url)
                found.append((url, instance.role, up))
        return found

    def gate(self, url: str) -> Trial:
        """The probes that a registration must pass; a worker in service needs but one success."""
        return self.rules.keeping() if url in self.registry else self.rules.admitting()

    def trial(self, url: str, late: float) -> Trial:
        """The probes of one round of the monitor that began `late` seconds behind its time."""
        standing = self._standings.get(url)
        return standing.trial(late) if standing is not None else self.rules.admitting()

    def skip(self, secs: float) -> None:
        """The process was stopped for so long: nobody is forgotten for that."""
        for standing in self._standings.values():
            standing.skip(secs)

    def watched(self) -> list[Instance]:
        """Everybody who is probed: in service or on probation."""
        return self.registry.all() + list(self._lost.values())

    def registered(self) -> list[Instance]:
        """Those of them who registered by themselves."""
        return [instance for instance in self.watched() if instance.url in self._own]

    def check_room(self, url: str) -> None:
        """Raise `RegistrationError` when there is no room for a worker that is not known yet."""
        if url not in self._standings and len(self._standings) >= self._limit and self._dispensable() is None:
            raise RegistrationError(503, f"{self._limit} workers are registered (manager.max-workers)")

    def of_file(self, url: str, name: str | None, models: tuple[str, ...] | None = None) -> None:
        """The register file names a known worker, its host `name` where that is no address, and maybe its `models`."""
        self._of_file[url] = name
        if models is not None:
            self._given[url] = models
        else:
            self._given.pop(url, None)

    def admit(self, instance: Instance, now: float, source: Source = "register") -> None:
        """Take a worker into service, or take over what it says of itself anew.

        `source` is how that was heard. One that was lost too often waits on probation until its hold is over.
        With those on probation there are never more than the limit, so that whoever comes back has a place; a new one
        takes that of the one lost first. Raises as `check_room` does.
        """
        url = instance.url
        own = source == "register"
        if source != "file" and instance.models is None and url in self._given:
            instance = replace(instance, models=self._given[url])
        standing = self._place(url, now)
        changed = own and url not in self._own
        if own:
            self._own.add(url)
        held = standing.held(now)
        if held:
            self._lost[url] = instance
            self.on_change()
            if self._log.lasting.met(f"{url} is held back", events=True):
                self._log.info(messages.held(instance.role, url, held))
            return
        before = self._take_in(instance)
        if not standing.serving:
            self._metrics.flip("up")
        standing.readmit(now)
        if before != instance or changed:
            self.on_change()
        if before is None:
            self._log.info(messages.added(instance.role, url))
        elif before.role != instance.role:
            self._log.info(messages.role_changed(url, before.role, instance.role))
        self.on_state(url)

    def expect(self, instance: Instance, now: float, *, own: bool = True) -> None:
        """Put a worker on probation that a process before this one or another replica knew, and that is not well now.

        `own` is whether it registered here.
        """
        url = instance.url
        if (self.rules.forget_after_secs == 0 and not self._stays(url)) or url in self._standings:
            return
        self._place(url, now).lose(now)
        if own:
            self._own.add(url)
        self._lost[url] = instance
        self.registry.models.expect(instance)
        self.on_change()
        self._log.warn(messages.expected(instance.role, url))
        self.on_state(url)

    def await_first(self, instance: Instance, now: float) -> None:
        """Put a worker of the register file on probation that is not well yet. Raises as `check_room` does."""
        url = instance.url
        known = url in self._standings
        standing = self._place(url, now)
        if url in self.registry:
            self.registry.put(instance)
            return
        self._lost[url] = instance
        self.registry.models.expect(instance)
        if known:
            return
        standing.await_first(now)
        self._log.warn(messages.awaited(instance.role, url))
        self.on_state(url)

    def _place(self, url: str, now: float) -> WorkerHealth:
        """A worker's standing; a new one takes the place of another where there is no room."""
        self.check_room(url)
        if url not in self._standings and len(self._standings) >= self._limit:
            displaced = self._dispensable()
            if displaced is not None:
                self._displace(displaced)
        return self._standings.setdefault(url, WorkerHealth(self.rules, now))

    def _dispensable(self) -> str | None:
        """Who is lost for longest of those that may be forgotten."""
        return next((url for url in self._lost if not self._stays(url)), None)

    def _stays(self, url: str) -> bool:
        return url in self._of_file or self.registry.held(url)

    def _take_in(self, instance: Instance) -> Instance | None:
        before = self.registry.put(instance)
        self._lost.pop(instance.url, None)
        self._conduct.joined(instance.url)
        return before

    def pardon(self, url: str, now: float) -> None:
        """What probes and requests said of a worker is forgotten: it may be back by its next probe."""
        standing = self._standings.get(url)
        if standing is not None:
            standing.pardon(now)
        self._conduct.pardon(url)

    def leave(self, url: str) -> bool:
        """Take a worker out for good, on request. False when it is neither in service nor on probation."""
        removal = self.registry.remove(url)
        instance = removal.instance if removal is not None else self._lost.pop(url, None)
        self._dismiss(url)
        if instance is not None:
            self.on_change()
            self._log.info(messages.unregistered(instance.role, url))
        return instance is not None

    def drop(self, url: str, to: str | None = None) -> None:
        """The register file does not name a worker any more: it leaves, unless it registered by itself as well.

        `to` is where its host's name leads now.
        """
        if url not in self._of_file:
            return
        if url in self._own:
            del self._of_file[url]
            self._given.pop(url, None)
            return
        removal = self.registry.remove(url)
        instance = removal.instance if removal is not None else self._lost.pop(url, None)
        self._dismiss(url)
        if instance is not None:
            self._log.info(messages.dropped(instance.role, url))
        self.on_dropped(url, to)

    def _dismiss(self, url: str) -> None:
        self._standings.pop(url, None)
        self._of_file.pop(url, None)
        self._given.pop(url, None)
        self._own.discard(url)
        self._conduct.forget(url)
        self.registry.models.forget(url)
        self.on_state(url)

    def judge(self, url: str, healthy: bool, now: float, *, served: bool) -> None:
        """Take the verdict of a round of probes; `served` is whether the worker was in service when it began."""
        standing = self._standings.get(url)
        # Registered anew or unregistered while it was probed: the verdict was made by other rules.
        if standing is None or standing.serving != served:
            return
        change = standing.judge(healthy, now)
        if change == "lost":
            self._lose(url)
        elif change == "back":
            self._return(url)
        elif change == "forgotten" and not self._stays(url):
            self._forget(url)

    def _lose(self, url: str) -> None:
        removal = self.registry.remove(url)
        if removal is None:
            return
        self._lost[url] = removal.instance
        self._conduct.left(url)
        self._metrics.flip("down")
        self._log.error(messages.removed_unhealthy(removal.instance.role, url))
        if removal.running:
            self._log.info(messages.counter_preserved(url, removal.running))
        else:
            self._log.info(messages.counter_cleaned(url))
        if removal.tokens:
            self._log.info(messages.token_counter_preserved(url, removal.tokens))
        else:
            self._log.info(messages.token_counter_cleaned(url))
        if self.rules.forget_after_secs == 0 and not self._stays(url):
            self._forget(url)
        else:
            self.on_state(url)

    def _return(self, url: str) -> None:
        instance = self._lost[url]
        self._take_in(instance)
        self._metrics.flip("up")
        self._log.info(messages.came_back(instance.role, url))
        self.on_state(url)

    def _forget(self, url: str) -> None:
        instance = self._lost.pop(url, None)
        self._dismiss(url)
        self.on_change()
        if instance is not None and self.rules.forget_after_secs:
            self._log.warn(messages.forgotten(instance.role, url, self.rules.forget_after_secs))

    def _displace(self, url: str) -> None:
        instance = self._lost.pop(url)
        self._dismiss(url)
        self._log.warn(messages.displaced(instance.role, url))

    def missing(self) -> str | None:
        """What keeps the fleet from serving a request; None when it can."""
        needed = [role for role in ROLES if (role != "mixed") == self.splitwise]
        lacking = [role for role in needed if not self.registry.takes_work(role)]
        if not lacking:
            return None
        absent = [role for role in lacking if not self.registry.of_role(role)]
        if absent:
            return f"no {' and no '.join(absent)} worker is registered"
        return f"every {' and every '.join(lacking)} worker is taken out by order"
