"""What a scrape of `/metrics` reads of a router, made up: each source is as much of the real one as is read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from fd_router._core import GAP_BOUNDS, HIT_BOUNDS
from fd_router.observe.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Sequence


class Scheduler:
    """The extension's, with workers as (url, role, running, tokens)."""

    def __init__(self, workers: Sequence[tuple[str, str, int, int]], capacities: dict[str, float]) -> None:
        self.workers = list(workers)
        self._capacities = capacities

    def loads(self) -> list[tuple[str, str, int, int]]:
        return list(self.workers)

    def count(self, role: str) -> int:
        return sum(entry[1] == role for entry in self.workers)

    def tree(self) -> SimpleNamespace:
        return SimpleNamespace(blocks=11, nodes=12, bytes=13, evicted=14, expired=15)

    def decisions(self) -> SimpleNamespace:
        hits = [0] * (len(HIT_BOUNDS) + 1)
        hits[5] = 3
        return SimpleNamespace(outcomes=[("cache_aware", "chosen", 3)], hit_buckets=hits, hit_sum=1.5)

    def truth(self) -> SimpleNamespace:
        return SimpleNamespace(prompt=41, predicted=42, cached=43, gone=44)

    def capacities(self) -> list[tuple[str, float]]:
        return list(self._capacities.items())

    def recorded(self) -> tuple[int, int]:
        return 51, 52

    def sessions(self) -> tuple[int, int]:
        return 3, 5


class Access:
    """The extension's access log."""

    def snapshot(self) -> list[tuple[str, str, list[tuple[int, int]], float, list[float]]]:
        return [("POST", "/v1/chat/completions", [(200, 3), (503, 1)], 0.75, [0.25, 0.5])]


class Relay:
    """The extension's relay."""

    def stats(self) -> SimpleNamespace:
        gaps = [0] * (len(GAP_BOUNDS) + 1)
        gaps[0], gaps[-1] = 2, 1
        return SimpleNamespace(
            active=21,
            idle_connections=22,
            connections=23,
            resends=26,
            chunks=24,
            bytes=25,
            gap_buckets=gaps,
            gap_sum=60.5,
        )


class Fleet:
    """The fleet, of which some are up."""

    def __init__(self, up: dict[str, bool]) -> None:
        self._up = up

    def up(self) -> list[tuple[str, str, bool]]:
        return [(url, "mixed", up) for url, up in self._up.items()]


class Cluster:
    """The replica."""

    sharing = True
    losses = 2

    def others(self) -> int:
        return 3

    def prefixes(self) -> dict[str, int]:
        return {"applied": 41, "unknown": 42, "dropped": 43}

    def garbage(self) -> dict[str, int]:
        return {"board": 51, "loads": 52, "prefixes": 53}


def bound(scheduler: Scheduler, fleet: Fleet, **others: object) -> Metrics:
    """Metrics of these and, but for `others`, of the sources above."""
    metrics = Metrics()
    sources: Any = {
        "access": Access(),
        "relay": Relay(),
        "log": SimpleNamespace(lost_lines=31),
        "overload": SimpleNamespace(in_flight=4, waiting=2, body_bytes=99),
        "snapshots": SimpleNamespace(age=7.5, written_bytes=640, failures=2, restored_blocks=50),
        "cluster": Cluster(),
    }
    metrics.bind(scheduler=scheduler, fleet=fleet, **(sources | others))  # type: ignore[arg-type]
    return metrics
