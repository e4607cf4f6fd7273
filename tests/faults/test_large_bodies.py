"""A body of 16 MiB among small ones, which are to be served as if they were alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from fd_router._core import Request
from rig import RawClient, reply, wait_for
from rig.table import FULL

if TYPE_CHECKING:
    from rig import RawWorker, Router

SIZE = 16 << 20
ROUNDS = 100 if FULL else 20
PATH = "/v1/completions"
SMALL = b'{"prompt":"x"}'


def test_small_requests_do_not_wait(
    start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker]
) -> None:
    """In the moment in which a large body is complete, the loop neither puts it together nor reads it: that is done
    beside. How long the reading takes is measured here, on the same machine."""
    router = start_router("manager: {health-check-interval-secs: 3600}")
    worker = raw_worker(lambda _: reply(b"{}"))
    assert router.register(worker.port).status_code == 200
    body = b'{"prompt":"%s"}' % (b"\\u00e9" * (SIZE // 6))
    scan = min(seconds(partial(Request.scan, body, False)) for _ in range(5))
    waited = added(router, body)
    assert [hit.body == body for hit in worker.hits].count(True) == ROUNDS
    print(f"a scan takes {1e3 * scan:.2f} ms, a small request waits {1e3 * waited:.2f} ms more")
    assert waited < 0.5 * scan


def seconds(what: Callable[[], object]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def added(router: Router, body: bytes) -> float:
    """Seconds, by medians: a request in the moment in which a large one is complete, against one that is alone."""
    alone, beside = [], []
    head = b"POST %s HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (PATH.encode(), len(body))
    with router.raw() as large, router.raw() as small:
        for _ in range(ROUNDS):
            alone.append(seconds(partial(ask, small)))
            large.received = b""
            large.send(head + body[:-1])
            wait_for(lambda: router.metrics().value("fd_router_body_bytes") == len(body) - 1)
            large.send(body[-1:])
            beside.append(seconds(partial(ask, small)))
            assert large.read_until(b"{}").startswith(b"HTTP/1.1 200 ")
    return statistics.median(beside) - statistics.median(alone)


def ask(client: RawClient) -> None:
    client.received = b""
    client.post(PATH, SMALL)
    assert client.read_until(b"{}").startswith(b"HTTP/1.1 200 ")
