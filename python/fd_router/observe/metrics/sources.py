"""Families that are read from other parts of the router when somebody asks, and counted nowhere twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from fd_router._core import GAP_BOUNDS, HIT_BOUNDS, QUANTILES, __version__
from fd_router.observe.metrics import families
from fd_router.observe.metrics.instruments import histogram, metric, simple
from fd_router.types import ROLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from prometheus_client.metrics_core import Metric

    from fd_router._core import DecisionStats, RelayStats, TreeStats, TruthStats
    from fd_router.observe.metrics.answers import WorkerAnswers
    from fd_router.observe.metrics.families import Family
    from fd_router.types import Role

    AccessRow = tuple[str, str, list[tuple[int, int]], float, list[float]]


class SchedulerSource(Protocol):
    """What is read of `_core.Scheduler`."""

    def loads(self) -> list[tuple[str, Role, int, int]]:
        """(url, role, running, tokens) of each worker."""

    def count(self, role: Role) -> int:
        """Candidates of a role."""

    def tree(self) -> TreeStats:
        """The prefix tree."""

    def decisions(self) -> DecisionStats:
        """What was decided."""

    def truth(self) -> TruthStats:
        """What engines say that they had cached."""

    def capacities(self) -> list[tuple[str, float]]:
        """(url, tokens that its cache holds) of the workers of which that is known."""

    def sessions(self) -> tuple[int, int]:
        """Session stickiness: (hits, requests)."""

    def recorded(self) -> tuple[int, int]:
        """The recording: (lines written, lines lost)."""


class FleetSource(Protocol):
    """What is read of the fleet, from a thread beside the loop."""

    def up(self) -> list[tuple[str, Role, bool]]:
        """(url, role, whether it answers its probes and is not ejected for its failures) of every known worker."""


class Forgetful(Protocol):
    """What keeps figures of workers."""

    def prune(self, live: set[str]) -> None:
        """Forget who has been out of `live` for long."""


class AccessSource(Protocol):
    """What is read of `_core.AccessLog`."""

    def snapshot(self) -> list[AccessRow]:
        """(method, endpoint, [(status, requests)], seconds, quantiles) of each series."""


class OverloadSource(Protocol):
    """What is read of the gate of inference requests."""

    @property
    def in_flight(self) -> int:
        """Requests that are being served."""

    @property
    def waiting(self) -> int:
        """Requests that wait for room."""

    @property
    def body_bytes(self) -> int:
        """Bytes of bodies that are held."""


class RelaySource(Protocol):
    """What is read of `_core.Relay`."""

    def stats(self) -> RelayStats:
        """Counters since its start."""


class LogSource(Protocol):
    """What is read of `logs.Log`."""

    @property
    def lost_lines(self) -> int:
        """Lines that were not written."""


class SnapshotSource(Protocol):
    """What is read of the snapshots."""

    failures: int
    written_bytes: int
    restored_blocks: int

    @property
    def age(self) -> float:
        """Seconds since one was written."""


class ClusterSource(Protocol):
    """What is read of the replica, from a thread beside the loop."""

    @property
    def sharing(self) -> bool:
        """Whether it is not alone."""

    @property
    def losses(self) -> int:
        """How often the server was lost."""

    def others(self) -> int:
        """Replicas that were heard lately."""

    def prefixes(self) -> dict[str, int]:
        """Records of prefixes by what became of them."""

    def garbage(self) -> dict[str, int]:
        """What nobody of this version can have written, by where it was found."""


def one(family: Family, value: float) -> Metric:
    """A family without labels."""
    return simple(family, [((), value)])


class FleetCollector(Collector):
    """Who is up; and what must hear which workers are left, before anything of them is shown."""

    def __init__(self, by_worker: Sequence[Forgetful]) -> None:
        self._by_worker = by_worker
        self.source: FleetSource | None = None

    def collect(self) -> Iterator[Metric]:
        """One look at the fleet."""
        if self.source is None:
            return
        rows = self.source.up()
        live = {url for url, _, _ in rows}
        for each in self._by_worker:
            each.prune(live)
        yield simple(families.WORKER_UP, [((url, role), int(up)) for url, role, up in rows])


class SchedulerCollector(Collector):
    """Answers by worker, and workers, decisions, prefix tree and stickiness."""

    def __init__(self, answers: WorkerAnswers) -> None:
        self._answers = answers
        self.source: SchedulerSource | None = None

    def collect(self) -> Iterator[Metric]:
        """One snapshot of the scheduler."""
        if self.source is None:
            yield self._answers.inference()
            yield self._answers.ttft()
            yield from sessions(0, 0)
            return
        loads = self.source.loads()
        yield self._answers.inference()
        yield self._answers.ttft()
        yield from sessions(*self.source.sessions())
        yield simple(families.WORKERS, [((role,), self.source.count(role)) for role in ROLES])
        yield simple(families.WORKER_RUNNING, [((url, role), running) for url, role, running, _ in loads])
        yield simple(families.WORKER_TOKENS, [((url, role), tokens) for url, role, _, tokens in loads])
        decisions = self.source.decisions()
        yield simple(
            families.DECISIONS,
            [((policy, outcome), count) for policy, outcome, count in decisions.outcomes],
        )
        yield histogram(families.HIT_RATIO, HIT_BOUNDS, decisions.hit_buckets, decisions.hit_sum)
        yield from truth(self.source.truth())
        yield simple(families.WORKER_CACHE, [((url,), tokens) for url, tokens in self.source.capacities()])
        tree = self.source.tree()
        yield one(families.TREE_BLOCKS, tree.blocks)
        yield one(families.TREE_NODES, tree.nodes)
        yield one(families.TREE_BYTES, tree.bytes)
        yield one(families.TREE_EVICTED, tree.evicted)
        yield one(families.TREE_EXPIRED, tree.expired)
        written, lost = self.source.recorded()
        yield one(families.RECORDED_LINES, written)
        yield one(families.LOST_RECORDED_LINES, lost)


def sessions(hits: int, total: int) -> Iterator[Metric]:
    """The two families of session stickiness."""
    yield one(families.CACHE_HITS, hits)
    yield one(families.CACHE_REQUESTS, total)


def truth(stats: TruthStats) -> Iterator[Metric]:
    """The families that hold the prediction against what engines say."""
    yield one(families.PROMPT_TOKENS, stats.prompt)
    yield one(families.PREDICTED_TOKENS, stats.predicted)
    yield one(families.CACHED_TOKENS, stats.cached)
    yield one(families.OVERPREDICTED_TOKENS, stats.gone)


class AccessCollector(Collector):
    """HTTP requests."""

    def __init__(self) -> None:
        self.source: AccessSource | None = None

    def collect(self) -> Iterator[Metric]:
        """One snapshot of what was asked and answered."""
        rows = self.source.snapshot() if self.source is not None else []
        yield simple(
            families.HTTP_REQUESTS,
            [((row[0], row[1], status), count) for row in rows for status, count in row[2]],
        )
        yield metric(families.HTTP_DURATION, durations(rows))


def durations(rows: Iterable[AccessRow]) -> Iterator[Sample]:
    """The summary of each series of HTTP requests."""
    name = families.HTTP_DURATION.name
    for method, endpoint, statuses, seconds, quantiles in rows:
        labels = {"method": method, "endpoint": endpoint}
        for quantile, value in zip(QUANTILES, quantiles, strict=True):
            yield Sample(name, {**labels, "quantile": str(quantile)}, value)
        yield Sample(f"{name}_sum", labels, seconds)
        yield Sample(f"{name}_count", labels, sum(count for _, count in statuses))


class RelayCollector(Collector):
    """The upstream leg."""

    def __init__(self) -> None:
        self.source: RelaySource | None = None

    def collect(self) -> Iterator[Metric]:
        """One snapshot of the relay."""
        if self.source is None:
            return
        stats = self.source.stats()
        yield histogram(families.CHUNK_GAP, GAP_BOUNDS, stats.gap_buckets, stats.gap_sum)
        yield one(families.EXCHANGES, stats.active)
        yield one(families.IDLE_CONNECTIONS, stats.idle_connections)
        yield one(families.CONNECTIONS, stats.connections)
        yield one(families.RESENDS, stats.resends)
        yield one(families.CHUNKS, stats.chunks)
        yield one(families.BYTES, stats.bytes)


class RouterCollector(Collector):
    """The gate, the log, the snapshots and the version."""

    def __init__(self) -> None:
        self.log: LogSource | None = None
        self.overload: OverloadSource | None = None
        self.snapshots: SnapshotSource | None = None

    def collect(self) -> Iterator[Metric]:
        """What is lost, and what runs."""
        gate = self.overload
        served, waiting, held = (
            (gate.in_flight, gate.waiting, gate.body_bytes) if gate is not None else (0, 0, 0)
        )
        yield simple(families.REQUESTS, [(("served",), served), (("waiting",), waiting)])
        yield one(families.BODY_BYTES, held)
        yield one(families.LOST_LINES, self.log.lost_lines if self.log is not None else 0)
        kept = self.snapshots
        age, size, failures, blocks = (
            (kept.age, kept.written_bytes, kept.failures, kept.restored_blocks)
            if kept is not None
            else (0.0, 0, 0, 0)
        )
        yield one(families.SNAPSHOT_AGE, age)
        yield one(families.SNAPSHOT_BYTES, size)
        yield one(families.SNAPSHOT_FAILURES, failures)
        yield one(families.SNAPSHOT_RESTORED, blocks)
        yield simple(families.BUILD, [((__version__,), 1)])


class ClusterCollector(Collector):
    """The other replicas; nothing where the router has none."""

    def __init__(self) -> None:
        self.source: ClusterSource | None = None

    def collect(self) -> Iterator[Metric]:
        """What is shared, and what is lost."""
        source = self.source
        if source is None:
            return
        yield one(families.CLUSTER_SHARING, int(source.sharing))
        yield one(families.CLUSTER_REPLICAS, source.others())
        yield one(families.CLUSTER_LOSSES, source.losses)
        for family, counts in (
            (families.CLUSTER_PREFIXES, source.prefixes()),
            (families.CLUSTER_GARBAGE, source.garbage()),
        ):
            yield simple(family, [((kind,), count) for kind, count in counts.items()])
