"""Who is registered: the instances by url and role, kept in step with the scheduler's candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fd_router.fleet.models import ModelLists
from fd_router.types import ROLES, Instance, Role

if TYPE_CHECKING:
    from fd_router._core import Scheduler
    from fd_router.fleet.ejection import Standing


@dataclass(frozen=True, slots=True)
class Removal:
    """A worker that was taken out: what it was, and the load that it still carries."""

    instance: Instance
    running: int
    tokens: int


class Registry:
    """The workers in service. Every change reaches the scheduler in the same step.

    Who is held gets no work, be it in service, away or unknown.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._instances: dict[str, Instance] = {}
        self._held: set[str] = set()
        self.models = ModelLists(scheduler)

    def __len__(self) -> int:
        return len(self._instances)

    def __contains__(self, url: str) -> bool:
        return url in self._instances

    def get(self, url: str) -> Instance | None:
        """The instance behind a url; None when it is not registered (any more)."""
        return self._instances.get(url)

    def all(self) -> list[Instance]:
        """Every instance, by url."""
        return sorted(self._instances.values(), key=lambda instance: instance.url)

    def of_role(self, role: Role) -> list[Instance]:
        """The instances of one role, by url."""
        return [instance for instance in self.all() if instance.role == role]

    def counts(self) -> dict[Role, int]:
        """Registered instances by role, roles in alphabetical order."""
        counts = dict.fromkeys(sorted(ROLES), 0)
        for instance in self._instances.values():
            counts[instance.role] += 1
        return counts

    def held(self, url: str) -> bool:
        """Whether a worker gets no work, as an operator ordered it."""
        return url in self._held

    def takes_work(self, role: Role) -> list[Instance]:
        """Those of a role that are not held, by url."""
        return [instance for instance in self.of_role(role) if instance.url not in self._held]

    def hold(self, url: str) -> None:
        """Give a worker no work from now on, whatever comes of it otherwise. Requests under way are left alone."""
        self._held.add(url)
        self._scheduler.stand(url, "out")

    def let_go(self, url: str) -> None:
        """It may be chosen again."""
        self._held.discard(url)
        self._scheduler.stand(url, "open")

    def stand(self, url: str, standing: Standing) -> None:
        """Take what a worker's requests say of it."""
        if url not in self._held:
            self._scheduler.stand(url, standing)

    def put(self, instance: Instance) -> Instance | None:
        """Add an instance, or replace what is known of it. Returns what was known before."""
        before = self._instances.get(instance.url)
        self._instances[instance.url] = instance
        self._scheduler.add(instance.url, instance.role)
        if instance.url in self._held:
            self._scheduler.stand(instance.url, "out")
        if instance.endpoints or (before is not None and before.endpoints):
            self._scheduler.tell_endpoints(instance.url, instance.endpoints or ())
        if instance.cache_tokens is not None:
            self._scheduler.tell_capacity(instance.url, instance.cache_tokens)
        self.models.joined(instance, anew=before is None)
        return before

    def refused(self, url: str) -> None:
        """Nobody listens at a url: the engine ended, and its cache with it, whoever listens there next."""
        self._scheduler.forget_prefixes(url)
        if url in self._instances:
            self.models.ended(url)

    def emptied(self, url: str) -> None:
        """An engine goes on, or another one in its place, without what the cache had."""
        self._scheduler.forget_prefixes(url)

    def remove(self, url: str) -> Removal | None:
        """Take a worker out of selection; requests under way are left alone. None when it was not there."""
        instance = self._instances.pop(url, None)
        if instance is None:
            return None
        running, tokens = self._scheduler.remove(url) or (0, 0)
        return Removal(instance, running, tokens)
