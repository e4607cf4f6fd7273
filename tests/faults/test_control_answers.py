"""Control answers that are endless, trickle or hang: bounded in bytes and time, and nobody else waits for them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from rig import reply, wait_for
from rig.bad_answers import KINDS, Bad
from rig.memory import peak_rss, rss, worker_pid
from rig.table import FULL

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Peer, RawWorker, Router

    StartRouter = Callable[..., Router]
    StartWorker = Callable[..., RawWorker]

MIB = 1 << 20
LIMIT_SECS = 0.5
MOST_BYTES = 16 * MIB
"""Of one answer, as its sender counts them: the cap, and what the kernel's buffers take."""
MOST_HELD = 32 * MIB
"""At any time, however many answers came: what is read of them must not add up until a collector comes by."""
ROUNDS = 20 if FULL else 4
ENDLESS_ROUNDS = 60 if FULL else 12
CONFIG = """
scheduler: {{policy: {policy}}}
manager:
  {{health-check-interval-secs: {probes}, health-check-timeout-secs: {limit}, metrics-interval-secs: 0.1,
    models-interval-secs: 0}}
"""
METRICS = b"fastdeploy:num_requests_running 0\nfastdeploy:num_requests_waiting 0\n"
ANSWER = b'{"served":true}'
CHAT = "/v1/chat/completions"


def models(name: str) -> bytes:
    return b'{"object":"list","data":[{"id":"%b","object":"model"}]}' % name.encode()


def well(name: str) -> dict[str, bytes]:
    """The paths of a sound engine."""
    abort = b'{"aborted":["r-1"],"not_found":[],"errors":[]}'
    return {
        "/metrics": METRICS,
        "/v1/models": models(name),
        "/v1/abort_requests": abort,
        CHAT: ANSWER,
        "/well": b"",
    }


def config(policy: str = "request_num", probes: float = 3600, limit: float = LIMIT_SECS) -> str:
    return CONFIG.format(policy=policy, probes=probes, limit=limit)


def start(
    router: Router, raw_worker: StartWorker, *answers: Callable[[Peer], bytes | None]
) -> list[RawWorker]:
    workers = [raw_worker(answer, models=True) for answer in answers]
    for worker in workers:
        assert router.register(worker.port).status_code == 200
    return workers


def rounds(kind: str) -> int:
    """An endless answer is given up as soon as enough of it came, so that more of them fit into a test."""
    return ENDLESS_ROUNDS if kind == "endless" else ROUNDS


def hits(worker: RawWorker, path: str) -> int:
    return sum(peer.path == path for peer in worker.hits)


class Memory:
    """What the router's worker process holds more than at the start, at its highest."""

    def __init__(self, router: Router) -> None:
        assert router.chat("the first request takes what all need").content == ANSWER
        self._pid = worker_pid(router)
        self._before = rss(self._pid)

    def assert_bounded(self) -> None:
        held = peak_rss(self._pid) - self._before
        assert held < MOST_HELD, f"{held / MIB:.0f} MiB"


def assert_bounded(bad: Bad, limit: float = LIMIT_SECS) -> None:
    """Each bad answer was given up in time, and before much of it was read."""
    assert bad.sent, "the fault never happened"
    assert max(bad.sent) <= MOST_BYTES
    # The sender notices with its next piece, on a machine that may be busy.
    assert max(bad.lasted) < limit + 2.0
    if bad.kind == "endless":
        # Not each of them: on a busy machine one is given up for its time before it could be for its bytes.
        assert max(bad.sent) > MIB, "none was endless to its reader"


@pytest.mark.parametrize("kind", KINDS)
def test_metrics(start_router: StartRouter, raw_worker: StartWorker, kind: str) -> None:
    router = start_router(config("fd_remote_metrics_score"))
    good = raw_worker(Bad("", well=well("good")))
    assert router.register(good.port).status_code == 200
    memory = Memory(router)
    bad = Bad(kind, "/metrics", well=well("bad"))
    # Its first metrics are waited for, for a second at most.
    start(router, raw_worker, bad)
    wait_for(lambda: len(bad.sent) >= rounds(kind))
    assert_bounded(bad)
    memory.assert_bounded()
    router.wait_log(r"GetRemoteMetrics failed for \S+, falling back to local counter: ")
    bad.heal()


@pytest.mark.parametrize("kind", ["trickles", "hangs"])
def test_metrics_of_others_are_polled_meanwhile(
    start_router: StartRouter, raw_worker: StartWorker, kind: str
) -> None:
    """With a limit so long that one question outlasts the test."""
    router = start_router(config("fd_remote_metrics_score", limit=30))
    bad = Bad(kind, "/metrics", well=well("bad"))
    good, _ = start(router, raw_worker, Bad("", well=well("good")), bad)
    # The first one, of the registration, was given up after a second.
    wait_for(lambda: bad.open)
    asked, before = bad.asked, hits(good, "/metrics")
    wait_for(lambda: hits(good, "/metrics") >= before + 2 * ROUNDS, why="its polling stands still")
    assert (bad.asked, bad.open) == (asked, 1), "it is asked while it is asked"
    start_time = time.monotonic()
    for _ in range(2 * ROUNDS):
        assert router.chat("hello").content == ANSWER
    assert time.monotonic() - start_time < 10
    bad.heal()


@pytest.mark.parametrize("kind", KINDS)
def test_models(start_router: StartRouter, raw_worker: StartWorker, kind: str) -> None:
    router = start_router(config())
    bad = Bad(kind, "/v1/models", well=well("bad"))
    start(router, raw_worker, bad)
    memory = Memory(router)
    for number in range(1, rounds(kind) + 1):
        began = time.monotonic()
        # Nobody answered, which is not remembered: each client asks again.
        assert router.get("/v1/models").json() == {"object": "list", "data": []}
        assert time.monotonic() - began < LIMIT_SECS + 2.0
        assert bad.asked == number
    start(router, raw_worker, Bad("", well=well("good")))
    assert [each["id"] for each in router.get("/v1/models").json()["data"]] == ["good"]
    wait_for(lambda: bad.open == 0)
    assert_bounded(bad)
    memory.assert_bounded()


@pytest.mark.parametrize("kind", KINDS)
def test_models_that_are_learned(start_router: StartRouter, raw_worker: StartWorker, kind: str) -> None:
    router = start_router(config().replace("models-interval-secs: 0", "models-interval-secs: 0.2"))
    bad = Bad(kind, "/v1/models", well=well("mock"))
    (worker,) = start(router, raw_worker, bad)
    memory = Memory(router)
    wait_for(lambda: len(bad.sent) >= rounds(kind))
    assert router.chat("its list is unknown", model="anything").content == ANSWER
    assert bad.open <= 1, "it is asked while it is asked"
    bad.heal()
    router.wait_log(rf"register: {worker.url} serves mock")
    assert_bounded(bad)
    memory.assert_bounded()


def test_models_that_hang_hold_no_other_client_up(start_router: StartRouter, raw_worker: StartWorker) -> None:
    router = start_router(config(limit=30))
    bad = Bad("hangs", "/v1/models", well=well("bad"))
    start(router, raw_worker, bad)
    with router.raw() as waiting, router.raw() as beside:
        for client in (waiting, beside):
            client.send(b"GET /v1/models HTTP/1.1\r\nhost: router\r\n\r\n")
        wait_for(lambda: bad.open == 1)
        for _ in range(2 * ROUNDS):
            assert router.chat("hello").content == ANSWER
        assert router.get("/health").status_code == 200
        assert (bad.asked, bad.open) == (1, 1), "a burst of questions asks once"
    bad.heal()


@pytest.mark.parametrize("kind", KINDS)
def test_aborts(start_router: StartRouter, raw_worker: StartWorker, kind: str) -> None:
    router = start_router(config())
    bad = Bad(kind, "/v1/abort_requests", well=well("bad"))
    ill, _ = start(router, raw_worker, bad, Bad("", well=well("good")))
    memory = Memory(router)
    for _ in range(rounds(kind)):
        began = time.monotonic()
        answer = router.post("/v1/abort_requests", {"req_ids": ["r-1"]}).json()
        assert time.monotonic() - began < LIMIT_SECS + 2.0
        assert answer["aborted"] == ["r-1"]
        assert [each["url"] for each in answer["errors"]] == [ill.url]
    wait_for(lambda: bad.open == 0)
    assert_bounded(bad)
    memory.assert_bounded()


@pytest.mark.parametrize("kind", KINDS)
def test_health(start_router: StartRouter, raw_worker: StartWorker, kind: str) -> None:
    router = start_router(
        config(probes=0.2).replace(
            "  {health-check-interval",
            "  {health-check-endpoint: /well, forget-after-secs: 60, health-check-interval",
        )
    )
    bad = Bad(kind, well=well("bad"))
    good, ill = start(router, raw_worker, Bad("", well=well("good")), bad)
    memory = Memory(router)
    bad.paths = {"/well"}
    wait_for(lambda: len(bad.sent) >= rounds(kind))
    assert max(bad.sent) <= MOST_BYTES
    assert max(bad.lasted) < LIMIT_SECS + 2.0
    memory.assert_bounded()
    if kind != "endless":
        # Without an end there is no answer; an endless one has said 200 at its head.
        router.wait_workers(mixed=1)
        assert [each["url"] for each in router.registered()["mixed"]] == [good.url]
    before = hits(good, "/well")
    wait_for(lambda: hits(good, "/well") >= before + ROUNDS, why="others are not probed any more")
    assert router.chat("hello").content == ANSWER
    bad.heal()
    router.wait_workers(mixed=2)
    assert ill.errors == []


@pytest.mark.parametrize("kind", KINDS)
def test_tokenizer(start_router: StartRouter, raw_worker: StartWorker, kind: str) -> None:
    tokenizer = Bad(kind, "/tokenize")
    service = raw_worker(tokenizer)
    router = start_router(
        f"scheduler: {{policy: cache_aware, tokenizer-url: '{service.url}', tokenizer-timeout-secs: {LIMIT_SECS}}}"
    )
    start(router, raw_worker, lambda _: reply(ANSWER))
    memory = Memory(router)
    for number in range(2, rounds(kind) + 2):
        began = time.monotonic()
        assert router.chat("hello").content == ANSWER
        assert time.monotonic() - began < LIMIT_SECS + 2.0
        # A request without text has nothing to tokenize, and waits for nobody.
        assert router.post("/v1/completions", {"prompt": [1, 2, 3]}).status_code == 200
        assert tokenizer.asked == number
    wait_for(lambda: tokenizer.open == 0)
    assert_bounded(tokenizer)
    memory.assert_bounded()
    router.wait_log("cache-aware prefill: tokenizer failed, fallback to char tokens: ")
