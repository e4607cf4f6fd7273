"""Decode ends before its prefill has said so: prefill is read to its end behind the client's back, for a second."""

from __future__ import annotations

import json
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from rig import reply, wait_for
from rig.router import chat_body
from rig.wait import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Peer, RawWorker, Router

CONFIG = "manager: {health-check-interval-secs: 3600}"
DECODED = b'{"decoded":true}'
EVENTS = b"data: 1\n\ndata: [DONE]\n\n"
ERROR_PATH = "error path"


def chunked(events: bytes) -> bytes:
    """A stream that leaves its connection open."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(events), events)


class Late:
    """A prefill worker whose answers, or their ends, come when they are let go."""

    def __init__(self, first: bytes, rest: bytes) -> None:
        self._first = first
        self._rest = rest
        self.go = threading.Semaphore(0)
        self.closed: list[float] = []
        self.whole = 0

    def ended(self, number: int) -> bool:
        return self.whole == number

    def __call__(self, peer: Peer) -> None:
        peer.send(self._first)
        peer.connection.settimeout(0.02)
        while not self.go.acquire(blocking=False):
            try:
                gone = peer.connection.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                gone = True
            assert gone, "more than one request at a time"
            self.closed.append(time.monotonic())
            peer.done = True
            return
        peer.connection.settimeout(None)
        peer.send(self._rest)
        self.whole += 1


def start(
    start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker], prefill: Late, *, stream: bool
) -> tuple[Router, RawWorker]:
    router = start_router(CONFIG, "--splitwise")
    workers = {
        "prefill": raw_worker(prefill),
        "decode": raw_worker(lambda _: chunked(EVENTS) if stream else reply(DECODED)),
    }
    for role, worker in workers.items():
        assert router.register(worker.port, role).status_code == 200
    return router, workers["prefill"]


SHAPES = pytest.mark.parametrize(
    ("stream", "first", "rest", "line"),
    [
        (False, b"", reply(b"{}"), "non-stream prefill response done, release counter"),
        (False, reply(b"{}" * 99)[:-20], b"{}" * 10, "non-stream prefill response done, release counter"),
        (True, b"", chunked(EVENTS), "first chunk received, release counter"),
    ],
    ids=["whole, no head", "whole, begun", "stream, no head"],
)


@SHAPES
def test_prefill_ends_a_moment_later(
    start_router: Callable[..., Router],
    raw_worker: Callable[..., RawWorker],
    stream: bool,
    first: bytes,
    rest: bytes,
    line: str,
) -> None:
    prefill = Late(first, rest)
    router, worker = start(start_router, raw_worker, prefill, stream=stream)
    for number in (1, 2, 3):
        answer = router.chat("hello", stream=stream)
        assert answer.content == (EVENTS if stream else DECODED)
        # The client has its answer while the lease is still out: prefill has not ended.
        assert router.running()[worker.url] == 1
        prefill.go.release()
        wait_for(partial(prefill.ended, number))
        router.assert_idle()
    assert worker.connections - worker.probes - worker.questions == 1, "its connection was not kept"
    assert prefill.closed == []
    log = router.settled_log()
    assert log.count(f"[prefill] {line} url={worker.url}") == 3
    assert ERROR_PATH not in log
    assert "fallback" not in log
    assert +router.pair_outcomes() == {"completed": 3}
    assert router.metrics().value("fd_router_upstream_errors_total") == 0


@SHAPES
def test_prefill_that_does_not_end_is_given_up(
    start_router: Callable[..., Router],
    raw_worker: Callable[..., RawWorker],
    stream: bool,
    first: bytes,
    rest: bytes,
    line: str,
) -> None:
    prefill = Late(first, rest)
    router, worker = start(start_router, raw_worker, prefill, stream=stream)
    noise = router.round_trip()
    assert router.chat("hello", stream=stream).content == (EVENTS if stream else DECODED)
    answered = time.monotonic()
    wait_for(lambda: prefill.closed, why="prefill is read for ever")
    router.assert_idle()
    took = prefill.closed[0] - answered
    assert 0.8 - noise < took < 1.5 + noise, took
    router.wait_log(rf"\[prefill\] release in .* url={worker.url}")
    assert line not in router.settled_log()
    # Its silence after decode's word is no fault of its.
    assert router.metrics().value("fd_router_ejections_total") == 0
    assert +router.pair_outcomes() == {"completed": 1}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_client_that_leaves_ends_prefill_at_once(
    start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker], stream: bool
) -> None:
    prefill = Late(b"", reply(b"{}"))
    decode = Late(b"", reply(DECODED))
    router = start_router(CONFIG, "--splitwise")
    for role, answer in (("prefill", prefill), ("decode", decode)):
        assert router.register(raw_worker(answer).port, role).status_code == 200
    noise = router.round_trip()
    client = router.raw()
    client.post("/v1/chat/completions", json.dumps(chat_body("hello", stream=stream)).encode())
    wait_for(lambda: sum(router.running().values()) == 2, limit=LIMIT)
    left = time.monotonic()
    client.close()
    wait_for(lambda: prefill.closed and decode.closed)
    assert max(prefill.closed[0], decode.closed[0]) - left < 0.5 + noise
