"""What the rest of the router calls when something happened."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.registry import Collector

from fd_router.observe.metrics import families
from fd_router.observe.metrics.answers import WorkerAnswers
from fd_router.observe.metrics.instruments import Buckets, Gauge, Tally
from fd_router.observe.metrics.sources import (
    AccessCollector,
    ClusterCollector,
    FleetCollector,
    RelayCollector,
    RouterCollector,
    SchedulerCollector,
)
from fd_router.observe.metrics.text import encode
from fd_router.observe.metrics.worker_tally import WorkerBuckets, WorkerTally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from fd_router.observe.metrics.sources import (
        AccessSource,
        ClusterSource,
        FleetSource,
        LogSource,
        OverloadSource,
        RelaySource,
        SchedulerSource,
        SnapshotSource,
    )

    Instrument: TypeAlias = Tally | Gauge | Buckets | WorkerBuckets


class Answered(NamedTuple):
    """Answers to inference requests so far."""

    answers: dict[str, int]
    """Of each worker that had a part in them, errors included."""
    errors: dict[str, dict[str, int]]
    """What went wrong with each worker, by `UpstreamError.kind` or by the status of its answers from 400 on."""
    total: int
    failed: int
    """Those with a status from 500 on."""


class Metrics:
    """All metrics of one router.

    Everything but `render` is called in the event loop's thread and costs less than a microsecond; `render` is for
    another thread.
    """

    def __init__(self) -> None:
        self._answers = WorkerAnswers()
        self.counted = self._answers.counted
        """What leases feed: answers of workers, and the times to their first bytes. The latest times are those of
        answers below 400, and of prefill workers."""
        self._prefill = WorkerBuckets(families.PREFILL)
        self._duration = Buckets(families.DURATION)
        self.duration = self._duration.observe
        """Count an inference request's whole time, in seconds."""
        self._upstream_errors = WorkerTally(families.UPSTREAM_ERRORS)
        self._retries = WorkerTally(families.RETRIES)
        self._retries_denied = Tally(families.RETRIES_DENIED)
        self._ejections = WorkerTally(families.EJECTIONS)
        self._passed_over = WorkerTally(families.PASSED_OVER)
        self._written_off = Tally(families.WRITTEN_OFF)
        self._made_room = Tally(families.MADE_ROOM)
        self._client_connections = Gauge(families.CLIENT_CONNECTIONS)
        self.client_connections = self._client_connections.set
        """Take how many connections of clients are open."""
        self._pairs = Tally(families.PAIRS)
        self._probes = WorkerTally(families.PROBES)
        self._flips = Tally(families.FLIPS)
        self._clients_gone = Tally(families.CLIENTS_GONE)
        self._rejected = Tally(families.REJECTED)
        by_worker = (
            self._answers,
            self._prefill,
            self._upstream_errors,
            self._retries,
            self._ejections,
            self._passed_over,
            self._probes,
        )
        self._fleet = FleetCollector(by_worker)
        self._scheduler = SchedulerCollector(self._answers)
        self._access = AccessCollector()
        self._relay = RelayCollector()
        self._router = RouterCollector()
        self._cluster = ClusterCollector()
        self._registry = CollectorRegistry()
        events = _Events(self._instruments())
        collectors: tuple[Collector, ...] = (self._fleet, self._scheduler, self._access, events, self._relay)
        for collector in (*collectors, self._cluster, self._router):
            self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        self._rendering = threading.Lock()

    def _instruments(self) -> tuple[Instrument, ...]:
        return (
            self._prefill,
            self._duration,
            self._upstream_errors,
            self._retries,
            self._retries_denied,
            self._ejections,
            self._passed_over,
            self._client_connections,
            self._written_off,
            self._made_room,
            self._pairs,
            self._probes,
            self._flips,
            self._clients_gone,
            self._rejected,
        )

    def bind(
        self,
        *,
        scheduler: SchedulerSource,
        access: AccessSource,
        relay: RelaySource,
        log: LogSource,
        overload: OverloadSource,
        fleet: FleetSource,
        snapshots: SnapshotSource,
        cluster: ClusterSource | None = None,
    ) -> None:
        """Name the parts that are read when somebody asks; until then their families are absent or 0."""
        self._scheduler.source = scheduler
        self._access.source = access
        self._relay.source = relay
        self._router.log = log
        self._router.overload = overload
        self._fleet.source = fleet
        self._router.snapshots = snapshots
        self._cluster.source = cluster

    def render(self) -> bytes:
        """The text for `/metrics`, of `CONTENT_TYPE`. Safe from any thread; one at a time does the work."""
        with self._rendering:
            return encode(self._registry.collect())

    def prefill(self, worker: str, secs: float) -> None:
        """Count the time that a prefill worker took."""
        self._prefill.observe((worker,), secs)
        self.counted.latest(worker, secs)

    def upstream_error(self, worker: str, kind: str) -> None:
        """Count a failed exchange, by `UpstreamError.kind`."""
        self._upstream_errors.add(worker, kind)

    def answered(self) -> Answered:
        """Who answered what so far."""
        found = Answered({}, {}, *self.totals())
        for (worker, kind), count in self._upstream_errors.counts():
            if worker and count:
                found.errors.setdefault(str(worker), {})[str(kind)] = count
        for worker, (count, errors) in self.counted.shares().items():
            found.answers[worker] = count
            if errors:
                by_status = {str(status): answers for status, answers in errors.items()}
                found.errors.setdefault(worker, {}).update(by_status)
        return found

    def totals(self) -> tuple[int, int]:
        """`total` and `failed` of `answered`."""
        return self.counted.totals()

    def rejects(self) -> dict[str, int]:
        """Errors that the router itself answered, by `RouterError.code`."""
        return {str(code): count for (code,), count in self._rejected.counts()}

    def retry(self, worker: str) -> None:
        """Count a request that is sent again, as this worker has failed it."""
        self._retries.add(worker)

    def retry_denied(self, reason: str) -> None:
        """Count a request that is not sent again, by what was lacking: `budget` or `no_candidate`."""
        self._retries_denied.add(reason)

    def ejected(self, worker: str) -> None:
        """Count a worker that was taken out for its failures."""
        self._ejections.add(worker)

    def passed_over(self, worker: str) -> None:
        """Count a worker that is passed over for its refusals."""
        self._passed_over.add(worker)

    def written_off(self) -> None:
        """Count a client that took nothing any more."""
        self._written_off.add()

    def made_room(self, connections: int) -> None:
        """Count connections that were closed for others."""
        for _ in range(connections):
            self._made_room.add()

    def pair(self, outcome: str) -> None:
        """Count a prefill/decode pair by how it ended."""
        self._pairs.add(outcome)

    def probe(self, worker: str, ok: bool) -> None:
        """Count a health probe; no worker is named that is not known."""
        self._probes.add(worker, "ok" if ok else "failed")

    def flip(self, direction: str) -> None:
        """Count a change of a worker's health verdict, `up` or `down`."""
        self._flips.add(direction)

    def client_gone(self, phase: str = "unknown") -> None:
        """Count a client that left, by what the request was doing."""
        self._clients_gone.add(phase)

    def rejected(self, code: str) -> None:
        """Count an error that the router itself answers, by `RouterError.code`."""
        self._rejected.add(code)


class _Events(Collector):
    """The instruments that are fed by calls."""

    def __init__(self, instruments: tuple[Instrument, ...]) -> None:
        self._instruments = instruments

    def collect(self) -> Iterator[Metric]:
        for instrument in self._instruments:
            yield instrument.collect()
