"""What a probe found, and the last one of each worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router.observe.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Probe:
    """The outcome of one probe, which took `seconds`."""

    seconds: float
    well: bool
    status: int = 0
    """Of the answer; 0 where there was none."""
    kind: str = ""
    """`UpstreamError.kind` where there was no answer."""
    why: str = ""
    """What went wrong then."""

    @property
    def trouble(self) -> str | None:
        """What is to be said of a worker that is not well."""
        return None if self.well else self.why or f"status {self.status}"


class LastProbes:
    """Counts probes, and keeps the last one of those who are known: whoever asks to register may be anybody."""

    def __init__(self, knows: Callable[[str], bool], metrics: Metrics, wall: Callable[[], float]) -> None:
        """`wall` gives seconds since the epoch."""
        self._knows = knows
        self._metrics = metrics
        self._wall = wall
        self._last: dict[str, tuple[float, Probe]] = {}

    def note(self, url: str, probe: Probe) -> None:
        """A probe has ended."""
        known = self._knows(url)
        self._metrics.probe(url if known else "", probe.well)
        if known:
            self._last[url] = (self._wall(), probe)

    def of(self, url: str) -> tuple[float, Probe] | None:
        """When the last one ended, in seconds since the epoch, and what it found."""
        return self._last.get(url)

    def forget(self, url: str) -> None:
        """The worker is not known any more."""
        self._last.pop(url, None)
