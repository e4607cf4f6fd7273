"""What `/workers` and `/status` say of each worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fd_router.fleet.states import STATES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fd_router._core import Scheduler, TruthStats
    from fd_router.fleet.last_probes import LastProbes
    from fd_router.fleet.membership import Membership
    from fd_router.fleet.orders import Orders
    from fd_router.fleet.states import State, States
    from fd_router.observe.metrics import Metrics
    from fd_router.observe.metrics.metrics import Answered
    from fd_router.types import Instance

Row = dict[str, Any]


class Rows:
    """One row for each worker that is known, and for those that were removed and still register.

    Of the first there are at most `manager.max-workers`, of both together at most twice as many.
    """

    def __init__(
        self,
        *,
        members: Membership,
        orders: Orders,
        states: States,
        probes: LastProbes,
        scheduler: Scheduler,
        metrics: Metrics,
    ) -> None:
        self._members = members
        self._orders = orders
        self._states = states
        self._probes = probes
        self._scheduler = scheduler
        self._metrics = metrics

    def counts(self) -> dict[State, int]:
        """Workers by state."""
        counts = dict.fromkeys(STATES, 0)
        for _, state, _ in self._states.all():
            counts[state] += 1
        return counts

    def each(self, answered: Answered) -> Iterator[Row]:
        """Everybody, by url, as they are when their turn comes."""
        return self._of(self._states.all(), answered)

    def one(self, url: str) -> Row | None:
        """One worker's row."""
        known = [each for each in self._states.all() if each[0] == url]
        return next(self._of(known, self._metrics.answered()), None)

    def _of(self, known: list[tuple[str, State, float]], answered: Answered) -> Iterator[Row]:
        elsewhere = self._orders.elsewhere()
        loads = {url: (running, tokens) for url, _, running, tokens in self._scheduler.loads()}
        truths = dict(self._scheduler.truths())
        capacities = dict(self._scheduler.capacities())
        held = dict(self._scheduler.held())
        for url, state, since in known:
            instance = self._instance(url)
            if instance is None:
                continue
            running, tokens = loads.get(url, (0, 0))
            yield {
                "url": url,
                "role": instance.role,
                "models": self._members.registry.models.of(url),
                "state": state,
                "why": self._states.why(url, state, running),
                "since": round(since, 3),
                "running": running,
                "running_elsewhere": elsewhere.get(url, 0),
                "pending_tokens": tokens,
                "last_probe": self._probe(url),
                "first_byte": self._first_byte(url),
                "answers": answered.answers.get(url, 0),
                "errors": answered.errors.get(url, {}),
                "hit": hit(truths.get(url)),
                "cache_tokens": capacities.get(url),
                "held_tokens": round(held.get(url, 0)),
                "version": instance.version or None,
                "source": self._members.source(url),
                "host": self._members.host_name(url),
            }

    def _instance(self, url: str) -> Instance | None:
        order = self._orders.of(url)
        return self._members.get(url) or (order.removed if order is not None else None)

    def _probe(self, url: str) -> Row | None:
        last = self._probes.of(url)
        if last is None:
            return None
        at, probe = last
        seconds = round(probe.seconds, 6)
        return {"at": round(at, 3), "seconds": seconds, "well": probe.well, "error": probe.trouble}

    def _first_byte(self, url: str) -> Row | None:
        found = self._metrics.counted.quantiles(url, (0.5, 0.95))
        return None if found is None else {"p50": round(found[0], 6), "p95": round(found[1], 6)}


def hit(truth: TruthStats | None) -> Row | None:
    """What share of prompts was predicted to be cached, and was; None where no answer said so."""
    if truth is None or not truth.prompt:
        return None
    return {
        "prompt_tokens": truth.prompt,
        "predicted": round(truth.predicted / truth.prompt, 4),
        "true": round(truth.cached / truth.prompt, 4),
        "overpredicted": round(truth.gone / truth.prompt, 4),
    }
