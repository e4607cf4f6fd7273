"""What is asked for once, and what a fleet in trouble is spared."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import TYPE_CHECKING

import pytest

from rig import reply, sse_head, wait_for
from rig.crowd import Crowd, statuses
from rig.table import FULL

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Peer, RawWorker, Router

CONFIG = """
scheduler: {policy: round_robin}
manager: {health-check-interval-secs: 3600}
upstream: {first-byte-timeout-secs: 0.5}
"""
FLEET = 8
REQUESTS = 1000 if FULL else 400
CLIENTS = 8


def registered(
    router: Router, raw_worker: Callable[..., RawWorker], number: int, answer: object
) -> list[RawWorker]:
    workers = [raw_worker(answer) for _ in range(number)]
    for worker in workers:
        assert router.register(worker.port).status_code == 200
    return workers


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_fleet_that_resets_everything(
    start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker], stream: bool
) -> None:
    router = start_router(CONFIG)
    workers = registered(router, raw_worker, FLEET, lambda peer: peer.reset())
    got = Crowd(router, CLIENTS, stream=stream).ask(REQUESTS)
    assert statuses(got) == {502: REQUESTS}
    hits = [len(worker.hits) for worker in workers]
    assert REQUESTS <= sum(hits) <= 1.2 * REQUESTS, hits
    metrics = router.metrics()
    assert metrics.value("fd_router_upstream_errors_total", kind="reset_before_head") == sum(hits)
    assert metrics.value("fd_router_retries_total") == sum(hits) - REQUESTS
    assert metrics.value("fd_router_upstream_resends_total") == 0
    # Half of them are out at a time, and no more.
    assert metrics.value("fd_router_ejections_total") >= FLEET // 2
    assert metrics.value("fd_router_retries_denied_total") > 0


class Once:
    """Serves its first request on a connection; has the next one, and drops the connection after some time."""

    def __init__(self, secs: float, end: str) -> None:
        self._secs = secs
        self._end = end
        self._seen: set[object] = set()
        self.dropped = 0

    def __call__(self, peer: Peer) -> bytes | None:
        if peer.connection not in self._seen:
            self._seen.add(peer.connection)
            return reply(b"{}")
        threading.Event().wait(self._secs)
        self.dropped += 1
        getattr(peer, self._end)()
        return None


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("secs", [0.3, 0.45])
def test_a_kept_connection_that_had_the_request(
    start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker], secs: float, end: str
) -> None:
    """The engine may have begun: it does not get the request again unseen, and another one gets it counted."""
    router = start_router(CONFIG)
    dropping = Once(secs, end)
    (first,) = registered(router, raw_worker, 1, dropping)
    assert router.chat("makes a connection that is kept").status_code == 200
    (second,) = registered(router, raw_worker, 1, lambda peer: reply(b'"second"'))
    for _ in range(2):
        assert router.chat("one of these goes to the first").content == b'"second"'
    assert (dropping.dropped, len(first.hits), len(second.hits)) == (1, 2, 2)
    metrics = router.metrics()
    assert metrics.value("fd_router_upstream_resends_total") == 0
    assert metrics.value("fd_router_retries_total") == 1
    assert metrics.value("fd_router_upstream_errors_total", kind="reset_before_head") == 1
    router.wait_log(rf"\[fd-router\] retry: trying another worker, {re.escape(first.url)} failed")


def test_a_kept_connection_that_closes_as_it_is_taken(
    start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker]
) -> None:
    """The engine did not read the request: the relay sends it once more, on a new connection, and counts it."""

    def answer(peer: Peer) -> None:
        peer.send(reply(b"{}"))
        # Readable, not read: what comes next meets a connection that is being closed.
        peer.connection.settimeout(None)
        peer.connection.recv(1, 2)  # MSG_PEEK
        peer.reset()

    router = start_router(CONFIG)
    (worker,) = registered(router, raw_worker, 1, answer)

    def resent() -> bool:
        assert router.chat("hello").status_code in (200, 502)
        return router.metrics().value("fd_router_upstream_resends_total") >= 3

    wait_for(resent)
    metrics = router.metrics()
    resends = metrics.value("fd_router_upstream_resends_total")
    assert metrics.value("fd_router_upstream_connections_total") >= resends + 1
    answered = len(worker.hits)
    assert metrics.value("inference_requests_total") == answered


def slowly(peer: Peer) -> None:
    """At work for longer than the limit."""
    assert peer.wait_closed(), "the router waits for ever"


def cut(peer: Peer) -> None:
    peer.send(reply(b"x" * 200)[:-100])
    peer.close()


def with_headers(peer: Peer) -> bytes:
    return reply(b"{}", 200, *(f"x-{number}: 1" for number in range(150)))


@pytest.mark.parametrize(
    ("answer", "status"), [(slowly, 504), (cut, 502), (with_headers, 502)], ids=["slow", "cut", "150 headers"]
)
def test_what_another_engine_cannot_help_is_asked_for_once(
    start_router: Callable[..., Router],
    raw_worker: Callable[..., RawWorker],
    answer: Callable[[Peer], bytes | None],
    status: int,
) -> None:
    router = start_router(CONFIG)
    workers = registered(router, raw_worker, 3, answer)
    start = time.monotonic()
    got = router.chat("hello")
    assert (got.status_code, set(got.json())) == (status, {"error"})
    assert time.monotonic() - start < 3 * 0.5 or status != 504
    assert sum(len(worker.hits) for worker in workers) == 1
    metrics = router.metrics()
    assert metrics.value("fd_router_retries_total") == 0
    assert metrics.value("fd_router_upstream_errors_total") == 1


def test_a_stream_that_does_not_begin_is_asked_for_elsewhere(
    start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker]
) -> None:
    """Its first byte comes early: an engine that is silent for so long hangs."""

    def answer(peer: Peer) -> bytes | None:
        assert json.loads(peer.body)["stream"]
        if peer.connection.getsockname()[1] == hanging.port:
            assert peer.wait_closed()
            return None
        return sse_head() + b"data: [DONE]\n\n"

    router = start_router(CONFIG)
    hanging, other = raw_worker(answer), raw_worker(answer)
    for worker in (hanging, other):
        assert router.register(worker.port).status_code == 200
    for _ in range(2):
        assert router.chat("hello", stream=True).content == b"data: [DONE]\n\n"
    assert (len(hanging.hits), len(other.hits)) == (1, 2)
