"""The health of workers as pure state: when a probe's outcome becomes a verdict, and a verdict a change.

Times are seconds of one monotonic clock and always arguments. Nothing here probes or sleeps.

A round of the monitor gives each worker one `Trial`: as many probes, back to back, as its verdict needs. A worker that
fails it is *lost*: out of selection at once, as upstream does it. Unlike upstream it is not forgotten then but stays
on probation, is tried in every round, and comes back by itself (`forget_after_secs`; 0 is upstream's way).

A worker that keeps coming and going does more harm than one that is gone. Each loss therefore doubles the time until
the next return, from none over one interval up to `forget_after_secs`; `CALM_SECS` of service undo one doubling.
A registration does not shorten it: engines register every few seconds, whatever they do in between.

A process that was stopped (SIGSTOP, a paused virtual machine) finds its connections broken and its probes timed out
when it goes on, which says nothing about the workers. A trial that notices this excuses one failure, so that no
verdict falls before a second, fresh probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Change: TypeAlias = Literal["none", "lost", "back", "forgotten"]

CALM_SECS = 60.0
"""Service without a loss that undoes one doubling of the hold."""

GRACE_SECS = 1.0
"""How far over its timeout a probe may end before the clock, and not the worker, is to blame."""

MAX_DOUBLINGS = 16
"""The hold is at its cap by then; counting on would only make calm take longer to undo it."""


@dataclass(frozen=True, slots=True)
class HealthRules:
    """The numbers behind verdicts; see the keys `manager.health-*` and `manager.forget-after-secs`."""

    failure_threshold: int
    success_threshold: int
    timeout_secs: float
    interval_secs: float
    forget_after_secs: float

    def keeping(self, late: float = 0.0) -> Trial:
        """For a worker in service: one success keeps it, `failure_threshold` failures lose it.

        `late` is by how many seconds the round began behind its time: more than an interval counts as a stop.
        """
        return Trial(
            1, self.failure_threshold, self.timeout_secs + GRACE_SECS, excused=late > self.interval_secs
        )

    def admitting(self) -> Trial:
        """For a new or lost worker: `success_threshold` successes in a row admit it, the first failure ends it."""
        return Trial(self.success_threshold, 1, self.timeout_secs + GRACE_SECS, excused=False)


class Trial:
    """Probes back to back until the verdict stands. One failure is excused: of a probe over `fair_secs`, or any."""

    __slots__ = ("_excused", "_excuses", "_failures", "_fair_secs", "_successes")

    def __init__(self, successes: int, failures: int, fair_secs: float, *, excused: bool) -> None:
        self._successes = successes
        self._failures = failures
        self._fair_secs = fair_secs
        self._excused = excused
        self._excuses = 1

    def record(self, success: bool, took: float) -> bool | None:
        """Take a probe's outcome and how long it took, in seconds. Returns the verdict; None: probe again."""
        if success:
            self._successes -= 1
            return True if self._successes <= 0 else None
        if self._excuses and (self._excused or took > self._fair_secs):
            self._excuses -= 1
            return None
        self._failures -= 1
        return False if self._failures <= 0 else None


class WorkerHealth:
    """The standing of one worker, from its admission until it is forgotten."""

    __slots__ = (
        "_doublings",
        "_hold_until",
        "_last_well",
        "_served_since",
        "_serving",
        "ever_served",
        "rules",
    )

    def __init__(self, rules: HealthRules, now: float) -> None:
        self.rules = rules
        self._serving = True
        self._served_since = now
        self._last_well = now
        self._hold_until = now
        self._doublings = 0
        self.ever_served = True
        """Whether it has been in service, or is known to have been."""

    @property
    def serving(self) -> bool:
        """Whether the worker may be chosen; else it is on probation."""
        return self._serving

    def trial(self, late: float = 0.0) -> Trial:
        """The trial of this round; `late` as in `HealthRules.keeping`."""
        return self.rules.keeping(late) if self._serving else self.rules.admitting()

    def held(self, now: float) -> float:
        """Seconds until a worker on probation may be back; 0 for one that may be back now, or is in service."""
        return 0.0 if self._serving else max(0.0, self._hold_until - now)

    def judge(self, healthy: bool, now: float) -> Change:
        """Take a trial's verdict. `forgotten` is final: drop the object; so is `lost` if `forget_after_secs` is 0."""
        if self._serving:
            if healthy:
                return "none"
            self.lose(now)
            return "lost"
        if not healthy:
            return "forgotten" if now - self._last_well >= self.rules.forget_after_secs else "none"
        self._last_well = now
        if now < self._hold_until:
            return "none"
        self.readmit(now)
        return "back"

    def await_first(self, now: float) -> None:
        """It has not been in service yet, and comes into it by a trial."""
        self._serving = False
        self._last_well = self._hold_until = now
        self.ever_served = False

    def pardon(self, now: float) -> None:
        """Its losses are forgotten: on probation, it may be back by the next trial."""
        self._doublings = 0
        self._hold_until = now

    def skip(self, secs: float) -> None:
        """The process was stopped for so long, in which nobody could be probed: the time does not count."""
        self._last_well += secs
        self._served_since += secs

    def lose(self, now: float) -> None:
        """Out of service, from now on on probation."""
        calm = int((now - self._served_since) / CALM_SECS)
        self._doublings = max(0, self._doublings - calm)
        hold = self.rules.interval_secs * 2.0 ** (self._doublings - 1) if self._doublings else 0.0
        self._hold_until = now + min(hold, self.rules.forget_after_secs)
        self._doublings = min(self._doublings + 1, MAX_DOUBLINGS)
        self._last_well = now
        self._serving = False

    def readmit(self, now: float) -> None:
        """Back in service: it passed a trial, or the gate of a registration, and is not held any more.

        What it did before still counts.
        """
        if not self._serving:
            self._serving = True
            self.ever_served = True
            self._served_since = now
