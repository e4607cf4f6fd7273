"""The conduct of one worker as pure state: when failing requests take it out, and how it comes back.

Probes ask whether an engine says that it is well; this asks whether it serves. Times are seconds of one monotonic clock
and always arguments, so is chance. Nothing here knows the fleet, waits, or counts.

| standing | event | then |
|---|---|---|
| open | faults in a row reach the threshold, and the fleet can spare it | ejected, 1 s doubling to 30 s |
| open | the same, and the fleet cannot | open; it is a suspect, to which nothing is sent a second time |
| open | back-pressure | passed over, for its `Retry-After` of 1 s or more, else 1 s doubling to 10 s |
| passed over | the time is over | open |
| ejected | the time is over | on trial |
| on trial | a request is sent to it | ejected for all others, until that one tells |
| on trial | an answer begins well, or is the client's fault | open |
| on trial | a fault | ejected, twice as long |
| on trial | back-pressure | passed over |
| on trial | the request was given up | on trial, for the next one |

A hold is forgotten one doubling at a time, for each `CALM_SECS` without a new one.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Standing: TypeAlias = Literal["open", "passed_over", "ejected"]

FIRST_SECS = 1.0
EJECTED_SECS = 30.0
"""The longest ejection, before jitter."""
PASSED_OVER_SECS = 10.0
"""The longest time for which a worker is passed over that names none itself."""
RETRY_AFTER_SECS = 60.0
"""The longest `Retry-After` that is believed: a worker must not take itself out for good with one answer."""
JITTER = 0.2
"""An ejection is longer by up to this share, so that workers that failed together are not tried together."""
CALM_SECS = 60.0


class Hold:
    """How long a worker is held, doubling each time, and calming down in between."""

    __slots__ = ("_calm_since", "_doublings", "_longest")

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._doublings = 0
        self._calm_since = 0.0

    def next(self, now: float) -> float:
        """Seconds of the hold that begins now."""
        calm = int(max(0.0, now - self._calm_since) / CALM_SECS)
        self._doublings = max(0, self._doublings - calm)
        secs = min(FIRST_SECS * 2.0**self._doublings, self._longest)
        if secs < self._longest:
            self._doublings += 1
        self._calm_since = now + secs
        return secs

    def forgotten(self, now: float) -> bool:
        """Whether nothing is left of earlier holds."""
        return now - self._calm_since >= CALM_SECS * (self._doublings + 1)


class WorkerConduct:
    """What the requests of one worker say of it."""

    __slots__ = (
        "_ejections",
        "_passes",
        "_trying",
        "faults",
        "holds",
        "standing",
        "threshold",
        "until",
        "why",
    )

    def __init__(self, threshold: int) -> None:
        """`threshold` faults in a row are one too many; 0: however many, none is."""
        self.standing: Standing = "open"
        self.until = 0.0
        """When the present standing ends, unless it is `open`."""
        self.faults = 0
        """In a row."""
        self.holds = 0
        """How often it was ejected or passed over."""
        self.why = ""
        """What the request said that did it last."""
        self.threshold = threshold
        self._trying = False
        self._ejections = Hold(EJECTED_SECS)
        self._passes = Hold(PASSED_OVER_SECS)

    @property
    def suspect(self) -> bool:
        """Whether it has failed so often that it should be out."""
        return 0 < self.threshold <= self.faults

    @property
    def out(self) -> bool:
        """Whether it is ejected, or has not come back from it for good."""
        return self.standing == "ejected" or self._trying

    def on_trial(self) -> bool:
        """Whether the next request sent to it is its trial."""
        return self._trying and self.standing == "open"

    def clean(self, now: float) -> bool:
        """Whether there is nothing worth remembering."""
        return (
            self.standing == "open"
            and not self.faults
            and not self._trying
            and self._ejections.forgotten(now)
            and self._passes.forgotten(now)
        )

    def chosen(self) -> None:
        """A request is sent to it while it is on trial: one is enough."""
        self.standing = "ejected"

    def answered(self) -> bool:
        """An answer began well, or blamed the client. Returns whether that ends a trial."""
        if not self._trying:
            return False
        self._trying = False
        self.faults = 0
        self.standing = "open"
        return True

    def served(self) -> None:
        """An answer came to its good end."""
        self.faults = 0

    def fault(self, now: float, *, spare: bool, chance: float) -> bool:
        """Take a fault; `spare` is whether the fleet can do without it, `chance` is from 0 to 1.

        Returns whether the worker is ejected by it, until `until`.
        """
        if self.standing == "ejected" and not self._trying:
            return False  # sent before it was ejected
        self.faults += 1
        if not self._trying and not (self.suspect and spare):
            return False
        self._trying = False
        self.holds += 1
        self.standing = "ejected"
        self.until = now + self._ejections.next(now) * (1.0 + JITTER * chance)
        return True

    def pressure(self, now: float, retry_after: float | None) -> bool:
        """Take a refusal for load; `retry_after` is what the worker asks for, in seconds.

        Less than a second counts as nothing: who refuses at once and holds nobody off would get most of the requests.

        Returns whether the worker is passed over by it, until `until`. A worker that is so already is none the more by
        what it says to requests that were under way, or sent because everybody refuses; at most it is for longer.
        """
        if self.standing == "ejected" and not self._trying:
            return False
        asked = None
        if retry_after is not None and retry_after >= FIRST_SECS:
            asked = now + min(retry_after, RETRY_AFTER_SECS)
        if self.standing == "passed_over":
            self.until = max(self.until, asked or 0.0)
            return False
        self._trying = False
        self.faults = 0
        self.holds += 1
        self.standing = "passed_over"
        self.until = asked if asked is not None else now + self._passes.next(now)
        return True

    def given_up(self) -> bool:
        """A request was given up: if it was the trial, the next one is. Returns whether it was."""
        if self._trying:
            self.standing = "open"
        return self._trying

    def reopen(self) -> None:
        """The fleet can spare it no more."""
        self._trying = False
        self.standing = "open"

    def due(self) -> None:
        """The time `until` has come."""
        self._trying = self.standing == "ejected"
        self.standing = "open"
