"""The conduct of the fleet: what requests say of their workers, and what follows for choosing.

Called by routing for every exchange; where nothing ever failed a call is one look into an empty dict.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from fd_router.fleet import outcome
from fd_router.fleet.ejection import WorkerConduct
from fd_router.observe.logs import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router._core import Head
    from fd_router.fleet.ejection import Standing
    from fd_router.fleet.registry import Registry
    from fd_router.observe.logs import Log
    from fd_router.observe.metrics import Metrics

NOT_FOUND = 404
"""What an engine answers that does not serve the model."""


class Conduct:
    """Takes workers out of choosing that fail, passes those over that ask for it, and lets them back."""

    def __init__(
        self,
        threshold: int,
        *,
        registry: Registry,
        log: Log,
        metrics: Metrics,
        clock: Callable[[], float],
        later: Callable[[float, Callable[[], object]], object],
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`threshold` faults in a row eject a worker. `later` is `loop.call_later`, `chance` gives 0 to 1."""
        self._threshold = threshold
        self._registry = registry
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._later = later
        self._chance = chance
        self._workers: dict[str, WorkerConduct] = {}
        self.on_change: Callable[[str], object] = lambda _: None
        """Called with the url of a worker whose standing may be another."""

    def reconfigure(self, threshold: int) -> None:
        """Take so many faults in a row for too many; who is held stays so for its time."""
        self._threshold = threshold
        for worker in self._workers.values():
            worker.threshold = threshold

    def chosen(self, url: str) -> None:
        """A request goes to a worker. To be called in the same step as the choice."""
        worker = self._workers.get(url)
        if worker is not None and worker.on_trial():
            worker.chosen()
            self._apply(url, worker)

    def answered(self, url: str, head: Head) -> bool:
        """The head of an answer has come. Returns whether the worker serves the request."""
        said = outcome.of_status(head.status)
        match said:
            case "fault":
                self._fault(url, f"status {head.status}")
            case "pressure":
                self._pressure(url, head.status, outcome.retry_after(head.headers, time.time()))
            case _:
                if head.status == NOT_FOUND:
                    self._registry.models.doubted(url)
                worker = self._workers.get(url)
                if worker is not None and worker.answered():
                    self._apply(url, worker)
                    self._log.info(messages.trial_passed(url))
        return said == "served"

    def served(self, url: str, status: int) -> None:
        """The whole answer has come."""
        worker = self._workers.get(url)
        if worker is not None and outcome.of_status(status) == "served":
            worker.served()
            if worker.clean(self._clock()):
                del self._workers[url]

    def failed(self, url: str, kind: str) -> None:
        """An exchange failed, with this `UpstreamError.kind`."""
        if kind == outcome.REFUSED:
            self._registry.refused(url)
        if outcome.of_kind(kind) == "fault":
            self._fault(url, kind)
        else:
            self.given_up(url)

    def cut(self, url: str, status: int, kind: str) -> None:
        """An answer of `status` broke off, as `kind` says. What its head has said of the worker is said once."""
        if outcome.of_status(status) in {"fault", "pressure"}:
            self.given_up(url)
        else:
            self.failed(url, kind)

    def given_up(self, url: str) -> None:
        """An exchange ended without saying anything of its worker."""
        worker = self._workers.get(url)
        if worker is not None and worker.given_up():
            self._apply(url, worker)

    def of(self, url: str) -> WorkerConduct | None:
        """What its requests say of a worker; None where there is nothing to say."""
        return self._workers.get(url)

    def is_out(self, url: str) -> bool:
        """Whether a worker is ejected, or has not come back from it for good."""
        worker = self._workers.get(url)
        return worker is not None and worker.out

    def pardon(self, url: str) -> None:
        """What its requests said of a worker is forgotten: it is open."""
        if self._workers.pop(url, None) is not None:
            self._stand(url, "open")

    def suspects(self) -> list[str]:
        """Workers that fail and are still chosen, because the fleet cannot spare them."""
        return [url for url, worker in self._workers.items() if worker.suspect]

    def joined(self, url: str) -> None:
        """The worker was registered, anew or again: what its requests said before still holds."""
        worker = self._workers.get(url)
        if worker is not None:
            self._apply(url, worker)

    def left(self, url: str) -> None:
        """The worker is not registered any more: those that are left must be able to spare who is ejected."""
        ejected = sorted(
            (worker.until, each) for each, worker in self._workers.items() if worker.out and each != url
        )
        for _, each in ejected:
            if not self._can_spare(each):
                worker = self._workers[each]
                worker.reopen()
                self._apply(each, worker)

    def forget(self, url: str) -> None:
        """The worker left for good."""
        self._workers.pop(url, None)
        self.left(url)

    def _fault(self, url: str, why: str) -> None:
        now = self._clock()
        worker = self._workers.setdefault(url, WorkerConduct(self._threshold))
        if worker.fault(now, spare=self._can_spare(url), chance=self._chance()):
            self._metrics.ejected(url)
            worker.why = f"{worker.faults} requests in a row failed, the last by {why}"
            secs = self._hold(url, worker, now)
            self._log.warn(messages.ejected(url, secs, worker.faults, why))

    def _pressure(self, url: str, status: int, asked: float | None) -> None:
        now = self._clock()
        worker = self._workers.setdefault(url, WorkerConduct(self._threshold))
        if worker.pressure(now, asked):
            self._metrics.passed_over(url)
            worker.why = f"a request was answered {status}"
            secs = self._hold(url, worker, now)
            if self._log.lasting.met(f"{url} refuses requests for load", events=True):
                self._log.warn(messages.passed_over(url, secs, status))

    def _hold(self, url: str, worker: WorkerConduct, now: float) -> float:
        self._apply(url, worker)
        self._await(url, worker, now)
        return worker.until - now

    def _await(self, url: str, worker: WorkerConduct, now: float) -> None:
        hold = worker.holds
        self._later(worker.until - now, lambda: self._due(url, worker, hold))

    def _due(self, url: str, worker: WorkerConduct, hold: int) -> None:
        # Forgotten, or held anew, in the meantime: nothing is wanted, or another timer is set.
        if self._workers.get(url) is not worker or worker.holds != hold or worker.standing == "open":
            return
        now = self._clock()
        if worker.until > now:
            self._await(url, worker, now)
        else:
            worker.due()
            self._apply(url, worker)

    def _apply(self, url: str, worker: WorkerConduct) -> None:
        self._stand(url, worker.standing)

    def _stand(self, url: str, standing: Standing) -> None:
        self._registry.stand(url, standing)
        self.on_change(url)

    def _can_spare(self, url: str) -> bool:
        """Whether, with this one, at most half of its role's workers that take work are ejected."""
        instance = self._registry.get(url)
        if instance is None:
            return False
        peers = self._registry.takes_work(instance.role)
        out = [peer for peer in peers if peer.url == url or self.is_out(peer.url)]
        return 2 * len(out) <= len(peers)
