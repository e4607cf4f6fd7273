"""Rounds: every row on every router, one after another, so that neighbours in time are compared."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import load
from .process import UnavailableError
from .routers import DIRECT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .rows import Row
    from .running import Running

Sample = dict[str, float]
Results = dict[str, dict[str, Sample]]
"""Medians by row and router."""


@dataclass
class Bench:
    """Everything that a measurement needs, and what it has found so far."""

    tool: str
    engine_port: int
    running: Sequence[Running]
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    """First error of `row/router`."""

    def round(self, number: int, rows: Sequence[Row]) -> None:
        """Measure each row on direct and on each router; the order of routers turns with the round."""
        for row in rows:
            takers = [each for each in self.running if takes(row, each)]
            if not takers:
                continue
            self._keep(row, DIRECT, self._direct(row, number))
            turn = number % len(takers)
            for router in takers[turn:] + takers[:turn]:
                try:
                    sample = self._one(row, router, number)
                except UnavailableError as error:
                    self.errors.setdefault(f"{row.name}/{router.name}", str(error))
                    continue
                self._keep(row, router.name, sample)
                print(f"  round {number + 1}  {row.name:10} {brief(router.name, sample)}", flush=True)

    def _keep(self, row: Row, name: str, sample: Sample) -> None:
        self.samples.setdefault(row.name, {}).setdefault(name, []).append(sample)

    def _direct(self, row: Row, number: int) -> Sample:
        closed = self._run(self.engine_port, row, number, closed=True)
        opened = self._run(self.engine_port, row, number, closed=False) if row.rate else closed
        return {**throughput(closed), **latency(opened), "errors": closed["errors"] + opened["errors"]}

    def _one(self, row: Row, router: Running, number: int) -> Sample:
        router.child.check()
        load.client(self.tool, router.port, row, 1000 + number, ["--connections", "8", "--each", "20"], 0.5)
        idle = router.usage()
        opened = self._run(router.port, row, number, closed=False) if row.rate else None
        before = router.usage()
        closed = self._run(router.port, row, number, closed=True)
        after = router.usage()
        router.child.check()
        at_rate = (
            {"cpu_us_at_rate": (before.cpu - idle.cpu) * 1e6 / max(1, opened["requests"])} if opened else {}
        )
        opened = opened or closed
        for tally in (closed, opened):
            if tally["errors"]:
                self.errors.setdefault(f"{row.name}/{router.name}", tally["error"])
        return {
            **throughput(closed),
            **latency(opened),
            **costs(closed, after.cpu - before.cpu, after.loop - before.loop),
            **at_rate,
            "rss_mb": after.rss / 1e6,
            "errors": closed["errors"] + opened["errors"],
        }

    def _run(self, port: int, row: Row, number: int, *, closed: bool) -> dict[str, Any]:
        loop = load.closed_loop(row) if closed else load.open_loop(row)
        return load.client(self.tool, port, row, number + 1, loop, row.seconds)

    def medians(self) -> Results:
        """Medians over the rounds; latencies have the direct one of their round taken off first."""
        results: Results = {}
        for row, by_router in self.samples.items():
            direct = by_router[DIRECT]
            results[row] = {name: median(added(samples, direct)) for name, samples in by_router.items()}
        return results


def takes(row: Row, router: Running) -> bool:
    return row.pd == router.pd and (not row.only or router.name in row.only)


def throughput(tally: dict[str, Any]) -> Sample:
    elapsed = tally["elapsed"]
    return {
        "rps": tally["requests"] / elapsed,
        "cps": tally["chunks"] / elapsed,
        "requests": tally["requests"],
    }


def latency(tally: dict[str, Any]) -> Sample:
    sample: Sample = {}
    for kind, name in (("latency_us", "latency"), ("ttft_us", "ttft")):
        sample |= {f"{name}_{share}_ms": tally[kind][share] / 1000 for share in ("p50", "p99")}
    return sample


def costs(tally: dict[str, Any], cpu: float, loop: float) -> Sample:
    """CPU microseconds per request and, for streams, per chunk: the same CPU, divided by either count."""
    sample: Sample = {}
    for unit, count in (("request", tally["requests"]), ("chunk", tally["chunks"])):
        if count:
            sample |= {f"cpu_us_{unit}": cpu * 1e6 / count, f"loop_us_{unit}": loop * 1e6 / count}
    return sample


def added(samples: Sequence[Sample], direct: Sequence[Sample]) -> list[Sample]:
    """Each sample with `added_*` beside its latencies: what the router put on top of the engine."""
    return [
        sample | {f"added_{key}": sample[key] - base[key] for key in base if key.endswith("_ms")}
        for sample, base in zip(samples, direct, strict=False)
    ]


def median(samples: Sequence[Sample]) -> Sample:
    """Median of each figure; errors are summed."""
    result = {key: statistics.median(sample[key] for sample in samples) for key in samples[0]}
    return result | {"errors": sum(sample["errors"] for sample in samples)}


def brief(name: str, sample: Sample) -> str:
    unit = "chunk" if "cpu_us_chunk" in sample else "request"
    text = f"{name:14} {sample['rps']:9.0f} req/s {sample.get(f'cpu_us_{unit}', 0.0):8.1f} us/{unit}"
    return text + (f"  {sample['errors']:.0f} errors" if sample["errors"] else "")
