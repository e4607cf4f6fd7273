"""Which worker serves which model, as pure state, told to the scheduler in the same step.

| a worker | takes |
|---|---|
| was not asked yet | models that no worker lists, and requests that name none |
| has no list, none that can be read, or none within a second | everything |
| lists models, or was registered with them | these |
| lists models, and serves any name (FastDeploy without a served name) | these, and those that no worker lists |
| listed models, and has ended since | what it listed, after it was asked again: another model may be in its place |

What a worker was registered with stands, whatever it lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fd_router._core import ANY_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router._core import Scheduler
    from fd_router.types import Instance


@dataclass(slots=True)
class _Worker:
    """What is known of a worker; `names` is None where nothing is."""

    names: tuple[str, ...] | None = None
    others: bool = False
    given: bool = False
    """Whether the names are those of its registration."""
    awaited: bool = True
    """Whether an answer is waited for: it is new, or has ended since the last one."""


class ModelLists:
    """The lists of all workers in service or on probation."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._workers: dict[str, _Worker] = {}
        self.asks = True
        """Whether workers are asked at all; else those that were not given models take everything."""
        self.wanted: Callable[[str], object] = lambda _: None
        """Called for a worker that is to be asked, if it is not being asked."""
        self.outdated: Callable[[str], object] = lambda _: None
        """Called for a worker whose answer to what it was asked before is of no use."""
        self.doubted: Callable[[str], object] = lambda _: None
        """To be called for a worker that says it does not know what it was asked for."""

    def __contains__(self, url: str) -> bool:
        return url in self._workers

    def of(self, url: str) -> tuple[str, ...] | None:
        """The names that a worker lists, its own first; None where that is not known."""
        worker = self._workers.get(url)
        return worker.names if worker is not None else None

    def given(self, url: str) -> bool:
        """Whether a worker was registered with its models, so that it need not be asked."""
        worker = self._workers.get(url)
        return worker is not None and worker.given

    def unsure(self, url: str) -> bool:
        """Whether a worker is to be asked before it gets a request."""
        worker = self._workers.get(url)
        return worker is not None and worker.awaited and worker.names is not None

    def untold(self, url: str) -> bool:
        """Whether a worker is new, and its first answer is waited for."""
        worker = self._workers.get(url)
        return worker is not None and worker.awaited and worker.names is None

    def expect(self, instance: Instance) -> None:
        """A worker is known and not in service."""
        worker = self._workers.setdefault(instance.url, _Worker())
        if instance.models is not None:
            worker.names, worker.others, worker.given = instance.models, False, True
        elif worker.given:
            worker.given = False

    def joined(self, instance: Instance, *, anew: bool) -> None:
        """A worker is in service; `anew` if it was not before, and the scheduler knows nothing of its models."""
        self.expect(instance)
        url, worker = instance.url, self._workers[instance.url]
        if worker.given:
            worker.awaited = False
            self._tell(url, worker)
            return
        if not self.asks:
            worker.names, worker.others, worker.awaited = None, False, False
            self._tell(url, worker)
            return
        if anew:
            worker.awaited = True
            if worker.names is not None:
                self._tell(url, worker)
        self.wanted(url)

    def ended(self, url: str) -> None:
        """The engine behind a url ended, as nobody listens there."""
        worker = self._workers.get(url)
        if worker is None or worker.given or worker.names is None or worker.awaited:
            return
        worker.awaited = True
        self.outdated(url)

    def listed(self, url: str, names: tuple[str, ...], *, others: bool) -> bool:
        """A worker answered with a list. Returns whether that is news."""
        worker = self._workers.get(url)
        if worker is None or worker.given:
            return False
        before, was_awaited = worker.names, worker.awaited
        if before == names and worker.others == others and not was_awaited:
            return False
        if before is not None and set(before).isdisjoint(names):
            # Another engine, whose cache has nothing of what the one before was sent.
            self._scheduler.forget_prefixes(url)
        worker.names, worker.others, worker.awaited = names, others, False
        self._tell(url, worker)
        return before != names

    def not_listed(self, url: str) -> bool:
        """A worker answered without a list. Returns whether that is news; one that listed models keeps them."""
        worker = self._workers.get(url)
        if worker is None or worker.given or not worker.awaited:
            return False
        worker.names, worker.others, worker.awaited = None, False, False
        self._tell(url, worker)
        return True

    def forget(self, url: str) -> None:
        """The worker left for good."""
        self._workers.pop(url, None)

    def serves(self, url: str, model: str | None) -> bool:
        """Whether a worker is to get requests for a model, as far as it is known by itself."""
        names = self.of(url)
        return not names or model is None or model == ANY_MODEL or model in names or self._workers[url].others

    def unserved(self, model: str | None) -> bool:
        """Whether it is known that nobody serves a model, nor did before it was lost."""
        if model is None or model == ANY_MODEL or not self._workers:
            return False
        return all(
            worker.names is not None and not worker.others and model not in worker.names
            for worker in self._workers.values()
        )

    def partner_model(self, url: str, model: str | None) -> str | None:
        """The model that the partner of a chosen worker must serve.

        That is the request's, unless the worker serves another for it: where none is named, or by any name.
        """
        names = self.of(url)
        return model if not names or model in names else names[0]

    def _tell(self, url: str, worker: _Worker) -> None:
        self._scheduler.tell_models(url, worker.names, others=worker.others)
