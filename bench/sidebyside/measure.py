"""Cycles: short slices of every row on every router, so that neighbours in time are compared.

Within a cycle the row's anchor (fd-router) is measured before and after each other router: whatever the machine does
otherwise, both of a pair meet it alike. Ratios are taken of such neighbours (`pairs.py`).
"""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from . import load
from .process import UnavailableError
from .routers import DIRECT, LOOPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .rows import Row
    from .running import Running

Sample = dict[str, float]
Results = dict[str, dict[str, Sample]]
"""Medians by row and router."""


@dataclass(frozen=True)
class Slice:
    """What one router did in one loop of one row of one cycle. The report has them in the order of time."""

    row: str
    loop: str
    cycle: int
    router: str
    figures: Sample


@dataclass
class Bench:
    """Everything that a measurement needs, and what it has found so far."""

    tool: str
    engine_port: int
    running: Sequence[Running]
    slices: list[Slice] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    """First error of `row/router`."""

    def cycle(self, number: int, rows: Sequence[Row]) -> None:
        """Measure each row on direct and on each router; the order of routers turns with the cycle."""
        for row in rows:
            takers = [each for each in self.running if row.takes(each.name)]
            if takers:
                for loop in row.loops:
                    self._loop(number, row, loop, turns(takers, row.anchor, number))

    def _loop(self, number: int, row: Row, loop: str, routers: Sequence[Running]) -> None:
        tally = self._run(self.engine_port, row, number, loop)
        direct = speed(tally, row, loop) | {"errors": tally["errors"]}
        self.slices.append(Slice(row.name, loop, number, DIRECT, direct))
        for router in routers:
            where = f"{row.name}/{router.name}"
            try:
                figures = self._one(row, loop, router, number)
            except UnavailableError as error:
                self.errors.setdefault(where, str(error))
                continue
            self.slices.append(Slice(row.name, loop, number, router.name, figures | added(figures, direct)))
            print(f"  {number + 1}  {row.name:10} {loop:6} {brief(router.name, figures)}", flush=True)

    def _one(self, row: Row, loop: str, router: Running, number: int) -> Sample:
        router.child.check()
        load.client(self.tool, router.port, row, 1000 + number, ["--connections", "8", "--each", "20"], 0.5)
        before = router.usage()
        tally = self._run(router.port, row, number, loop)
        after = router.usage()
        router.child.check()
        if tally["errors"]:
            self.errors.setdefault(f"{row.name}/{router.name}", tally["error"])
        cpu, main = after.since(before)
        used = costs(tally, loop, cpu, main if router.name in LOOPS else None)
        return {**speed(tally, row, loop), **used, "rss_mb": after.rss / 1e6, "errors": tally["errors"]}

    def _run(self, port: int, row: Row, number: int, loop: str) -> dict[str, Any]:
        if loop == "open":
            return load.client(self.tool, port, row, number + 1, load.open_loop(row), row.open_seconds)
        return load.client(self.tool, port, row, number + 1, load.closed_loop(row), row.seconds)

    def report(self) -> dict[str, Any]:
        return {
            "rows": medians(self.slices),
            "slices": [asdict(each) for each in self.slices],
            "errors": self.errors,
        }


def turns(takers: Sequence[Running], anchor: str, number: int) -> list[Running]:
    """The order of one cycle: the anchor before and after each other router, if it runs."""
    others = [each for each in takers if each.name != anchor]
    turn = number % len(others) if others else 0
    others = others[turn:] + others[:turn]
    anchors = [each for each in takers if each.name == anchor]
    return anchors + [each for other in others for each in (other, *anchors)]


def speed(tally: dict[str, Any], row: Row, loop: str) -> Sample:
    """Throughput of a closed loop; latency of an open one, or of the only one there is."""
    sample: Sample = {}
    if loop == "closed":
        sample |= {"rps": tally["requests"] / tally["elapsed"], "cps": tally["chunks"] / tally["elapsed"]}
    if loop == "open" or row.rate is None:
        for kind, name in (("latency_us", "latency"), ("ttft_us", "ttft")):
            sample |= {f"{name}_{share}_ms": tally[kind][share] / 1000 for share in ("p50", "p99")}
    return sample


def costs(tally: dict[str, Any], loop: str, cpu: float, main: float | None) -> Sample:
    """CPU microseconds per request and, for streams, per chunk: the same CPU, divided by either count.

    `main` are the seconds of the event loop's thread, where there is one.
    """
    if loop == "open":
        return {"cpu_us_at_rate": cpu * 1e6 / max(1, tally["requests"])}
    sample: Sample = {}
    for unit, count in (("request", tally["requests"]), ("chunk", tally["chunks"])):
        if count:
            sample[f"cpu_us_{unit}"] = cpu * 1e6 / count
            if main is not None:
                sample[f"loop_us_{unit}"] = main * 1e6 / count
    return sample


def added(sample: Sample, direct: Sample) -> Sample:
    """What the router put on top of the engine: its latencies less the direct ones of the cycle."""
    return {f"added_{key}": sample[key] - direct[key] for key in direct if key.endswith("_ms")}


def medians(slices: Iterable[Slice]) -> Results:
    """Median of each figure by row and router; errors are summed."""
    seen: dict[str, dict[str, dict[str, list[float]]]] = {}
    for each in slices:
        figures = seen.setdefault(each.row, {}).setdefault(each.router, {})
        for key, value in each.figures.items():
            figures.setdefault(key, []).append(value)
    return {
        row: {
            router: {
                key: sum(values) if key == "errors" else statistics.median(values)
                for key, values in figures.items()
            }
            for router, figures in routers.items()
        }
        for row, routers in seen.items()
    }


def brief(name: str, sample: Sample) -> str:
    """One line of progress."""
    keys = ("cpu_us_at_rate", "cpu_us_chunk", "cpu_us_request")
    key = next((key for key in keys if key in sample), "")
    text = f"{name:16} {sample.get(key, 0.0):8.1f} {key.removeprefix('cpu_').replace('_', ' ')}"
    return text + (f"  {sample['errors']:.0f} errors" if sample["errors"] else "")
