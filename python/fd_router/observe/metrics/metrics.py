"""What the rest of the router calls when something happened."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.registry import Collector

from fd_router.observe.metrics import families
from fd_router.observe.metrics.instruments import Buckets, Gauge, Tally
from fd_router.observe.metrics.sources import (
    AccessCollector,
    RelayCollector,
    RouterCollector,
    SchedulerCollector,
)
from fd_router.observe.metrics.text import encode
from fd_router.observe.metrics.worker_tally import WorkerTally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from fd_router.observe.metrics.sources import (
        AccessSource,
        LogSource,
        OverloadSource,
        RelaySource,
        SchedulerSource,
    )


class Metrics:
    """All metrics of one router.

    Everything but `render` is called in the event loop's thread and costs less than a microsecond; `render` is for
    another thread.
    """

    def __init__(self) -> None:
        self._inference = WorkerTally(families.INFERENCE_REQUESTS, workers=3)
        self._ttft = Buckets(families.TTFT)
        self.ttft = self._ttft.observe
        """Count a time to first byte, in seconds."""
        self._duration = Buckets(families.DURATION)
        self.duration = self._duration.observe
        """Count an inference request's whole time, in seconds."""
        self._upstream_errors = Tally(families.UPSTREAM_ERRORS)
        self._retries = Tally(families.RETRIES)
        self._retries_denied = Tally(families.RETRIES_DENIED)
        self._ejections = Tally(families.EJECTIONS)
        self._passed_over = Tally(families.PASSED_OVER)
        self._written_off = Tally(families.WRITTEN_OFF)
        self._made_room = Tally(families.MADE_ROOM)
        self._client_connections = Gauge(families.CLIENT_CONNECTIONS)
        self.client_connections = self._client_connections.set
        """Take how many connections of clients are open."""
        self._pairs = Tally(families.PAIRS)
        self._probes = Tally(families.PROBES)
        self._flips = Tally(families.FLIPS)
        self._clients_gone = Tally(families.CLIENTS_GONE)
        self._rejected = Tally(families.REJECTED)
        self._scheduler = SchedulerCollector(self._inference)
        self._access = AccessCollector()
        self._relay = RelayCollector()
        self._router = RouterCollector()
        self._registry = CollectorRegistry()
        events = _Events(self._instruments())
        for collector in (self._scheduler, self._access, events, self._relay, self._router):
            self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        self._rendering = threading.Lock()

    def _instruments(self) -> tuple[Tally | Gauge | Buckets, ...]:
        return (
            self._ttft,
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
        scheduler: SchedulerSource,
        access: AccessSource,
        relay: RelaySource,
        log: LogSource,
        overload: OverloadSource,
    ) -> None:
        """Name the parts that are read when somebody asks; until then their families are absent or 0."""
        self._scheduler.source = scheduler
        self._access.source = access
        self._relay.source = relay
        self._router.log = log
        self._router.overload = overload

    def render(self) -> bytes:
        """The text for `/metrics`, of `CONTENT_TYPE`. Safe from any thread; one at a time does the work."""
        with self._rendering:
            return encode(self._registry.collect())

    def inference(self, mixed: str = "", prefill: str = "", decode: str = "", status: int = 200) -> None:
        """Count a worker's answer (decode's in PD mode), with the workers' urls and the true status."""
        self._inference.add(mixed, prefill, decode, status)

    def upstream_error(self, kind: str) -> None:
        """Count a failed exchange, by `UpstreamError.kind`."""
        self._upstream_errors.add(kind)

    def retry(self) -> None:
        """Count a request that is sent again."""
        self._retries.add()

    def retry_denied(self, reason: str) -> None:
        """Count a request that is not sent again, by what was lacking: `budget` or `no_candidate`."""
        self._retries_denied.add(reason)

    def ejected(self) -> None:
        """Count a worker that was taken out for its failures."""
        self._ejections.add()

    def passed_over(self) -> None:
        """Count a worker that is passed over for its refusals."""
        self._passed_over.add()

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

    def probe(self, ok: bool) -> None:
        """Count a health probe."""
        self._probes.add("ok" if ok else "failed")

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

    def __init__(self, instruments: tuple[Tally | Gauge | Buckets, ...]) -> None:
        self._instruments = instruments

    def collect(self) -> Iterator[Metric]:
        for instrument in self._instruments:
            yield instrument.collect()
