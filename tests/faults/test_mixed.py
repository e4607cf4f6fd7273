"""Mixed mode: workers that die, break off, fall silent, or close connections that the router keeps."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from rig import reply, wait_for
from rig.router import chat_body
from rig.sse import Events

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    import httpx

    from rig import Engine, Peer, RawWorker, Router

    StartRouter = Callable[..., Router]
    StartEngine = Callable[..., Engine]
    StartEngines = Callable[..., list[Engine]]

CONFIG = """
scheduler: {policy: round_robin}
manager: {health-check-interval-secs: 3600, forget-after-secs: 0, eject-after-failures: 0}
upstream: {first-byte-timeout-secs: 1.5, idle-timeout-secs: 1.5}
"""
BEFORE_A_BYTE = (
    {"connect": "reset"},
    {"connect": "refuse"},
    {"cut": "before-head", "cut_how": "close"},
    {"cut": "before-head", "cut_how": "reset"},
)
STREAMS = 12
STALE_REQUESTS = 2000


class Clients:
    """Requests at the same time, each from a thread of its own."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self._pool = ThreadPoolExecutor(2 * STREAMS)

    def ask(self, number: int, **fields: Any) -> list[Future[httpx.Response]]:
        """Send so many; each future has the answer, read to its end."""
        body = chat_body("hello", **fields)
        return [self._pool.submit(self.router.post, "/v1/chat/completions", body) for _ in range(number)]

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


def workers(router: Router, start_engines: StartEngines, number: int, **flags: object) -> list[Engine]:
    """Engines that register once and are never probed again: whatever they do, they may be chosen."""
    engines = start_engines(number, router, register_secs=3600, **flags)
    router.wait_workers(mixed=number)
    return engines


def test_killed_with_live_streams(start_router: StartRouter, start_engines: StartEngines) -> None:
    router = start_router(CONFIG)
    victim, other = workers(router, start_engines, 2, token_secs=0.02)
    with Clients(router) as clients:
        asked = clients.ask(STREAMS, stream=True, max_tokens=100)
        for engine in (victim, other):
            engine.wait_stats(running=STREAMS // 2)
        # A stream gives its prompt's tokens back at its first chunk.
        wait_for(lambda: router.tokens()[victim.url] == 0, why="the victim's streams have not begun")
        victim.kill()
        answers = [future.result() for future in asked]
    assert {answer.status_code for answer in answers} == {200}
    streams = [Events.parse(answer.content) for answer in answers]
    broken = [stream for stream in streams if not stream.finished]
    assert len(broken) == STREAMS // 2
    for stream in broken:
        assert stream.error()["type"] == "upstream_error"
        assert len(stream.data) >= 2
        assert b"[DONE]" not in stream.data
    assert {answer.headers["x-engine"] for answer in answers} == {victim.name, other.name}
    counted = router.metrics().value("fd_router_upstream_errors_total", kind="reset_mid_body")
    assert counted == STREAMS // 2


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_killed_before_it_answered(
    start_router: StartRouter, start_engines: StartEngines, stream: bool
) -> None:
    router = start_router(CONFIG)
    victim, other = workers(router, start_engines, 2, token_secs=0.005)
    victim.fault(cut="before-head", cut_how="stall")
    with Clients(router) as clients:
        asked = clients.ask(STREAMS, stream=stream)
        victim.wait_stats(stalled=STREAMS // 2)
        victim.kill()
        answers = [future.result() for future in asked]
    assert [answer.status_code for answer in answers] == [200] * STREAMS
    assert {answer.headers["x-engine"] for answer in answers} == {other.name}
    assert router.metrics().value("fd_router_retries_total") >= STREAMS // 2


@pytest.mark.parametrize("how", ["kill", "reset", "close"])
@pytest.mark.parametrize("cut", ["mid-frame", "mid-char"])
def test_broken_within_a_frame(
    start_router: StartRouter, start_engines: StartEngines, cut: str, how: str
) -> None:
    router = start_router(CONFIG)
    (engine,) = workers(router, start_engines, 1, token_secs=0)
    with Clients(router) as clients:
        whole = clients.ask(1, stream=True, request_id="same")[0].result().content
        engine.fault(cut=cut, cut_chunks=3, cut_how="stall" if how == "kill" else how)
        asked = clients.ask(1, stream=True, request_id="same")[0]
        if how == "kill":
            engine.wait_stats(stalled=1)
            engine.kill()
        got = asked.result().content
    if how != "kill":
        assert engine.stats()["broken_off"] == 1
    frames = got[: got.index(b'\n\ndata: {"error"')].split(b"\n\n")
    # The creation time may have moved on by a second: lengths are compared where bytes cannot be.
    expected = whole.split(b"\n\n")
    assert [len(frame) for frame in frames[:3]] == [len(frame) for frame in expected[:3]]
    assert len(frames) == 4
    assert 0 < len(frames[3]) < len(expected[3])
    assert got.endswith(b"\n\n")
    if cut == "mid-char":
        with pytest.raises(UnicodeDecodeError):
            frames[3].decode()
    assert Events.parse(got).error()["code"] == "reset_mid_body"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_suspended_worker_holds_nobody_up(
    start_router: StartRouter, start_engines: StartEngines, stream: bool
) -> None:
    router = start_router(CONFIG)
    victim, other = workers(router, start_engines, 2)
    router.chat("who serves this? the other serves the next")
    served = sum(engine.stats()["requests"] for engine in (victim, other))
    assert served == 1
    victim.suspend()
    with Clients(router) as clients:
        asked = clients.ask(2 * STREAMS, stream=stream)
        wait_for(lambda: sum(future.done() for future in asked) >= STREAMS, why="the sound worker is held up")
        assert sum(router.running().values()) == STREAMS, "nobody waits for the suspended worker"
        answers = [future.result() for future in asked]
    served = [answer.headers.get("x-engine") for answer in answers]
    # A stream has its first byte early; a whole answer may be under way, and is not made twice.
    assert served.count(other.name) == (2 * STREAMS if stream else STREAMS)
    assert sum(answer.status_code == 504 for answer in answers) == (0 if stream else STREAMS)
    timeouts = router.metrics().value("fd_router_upstream_errors_total", kind="first_byte_timeout")
    assert timeouts == STREAMS
    victim.resume()


def test_suspended_worker_leaves_the_rotation_and_comes_back(
    start_router: StartRouter, start_engine: StartEngine
) -> None:
    router = start_router(
        "manager: {health-check-interval-secs: 0.3, health-check-timeout-secs: 0.3, forget-after-secs: 60}"
    )
    engine = start_engine(router, register_secs=3600)
    router.wait_workers(mixed=1)
    engine.suspend()
    router.wait_workers(mixed=0)
    assert router.chat("nobody is there").status_code == 502
    engine.resume()
    router.wait_workers(mixed=1)
    assert router.chat("back").status_code == 200


def test_silent_within_an_answer(start_router: StartRouter, start_engines: StartEngines) -> None:
    router = start_router(CONFIG)
    (engine,) = workers(router, start_engines, 1, token_secs=0)
    engine.fault(cut="mid-stream", cut_how="stall")
    answer = router.chat("hello", stream=True)
    assert engine.stats()["stalled"] == 1
    events = Events.parse(answer.content)
    assert events.error()["code"] == "idle_timeout"
    assert len(events.data) == 3
    engine.wait_stats(aborted=1)


def test_broken_before_a_byte_is_served_elsewhere(
    start_router: StartRouter, start_engines: StartEngines
) -> None:
    router = start_router(CONFIG)
    victim, other = workers(router, start_engines, 2, token_secs=0)
    for fault in BEFORE_A_BYTE:
        victim.heal()
        victim.fault(**fault)
        before, retried = victim.stats(), router.metrics().value("fd_router_retries_total")
        for stream in (False, True):
            for _ in range(4):
                answer = router.chat("hello", stream=stream)
                assert (answer.status_code, answer.headers["x-engine"]) == (200, other.name), fault
        after, retries = victim.stats(), router.metrics().value("fd_router_retries_total") - retried
        # Round robin comes to the victim with every second request.
        assert retries == 4, fault
        hit = "broken_off" if "cut" in fault else "requests"
        assert after[hit] - before[hit] == (retries if "cut" in fault else 0), fault


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("how", ["close", "reset", "stall"])
def test_cut_after_the_head_is_not_made_twice(
    start_router: StartRouter, start_engines: StartEngines, stream: bool, how: str
) -> None:
    router = start_router(CONFIG)
    engines = workers(router, start_engines, 2, token_secs=0, faults={"cut": "after-head", "cut_how": how})
    answer = router.chat("hello", stream=stream)
    assert (answer.status_code, set(answer.json())) == (502, {"error"})
    assert sum(engine.stats()["requests"] for engine in engines) == 1
    assert router.metrics().value("fd_router_retries_total") == 0


def test_all_broken_is_a_502(start_router: StartRouter, start_engines: StartEngines) -> None:
    router = start_router(CONFIG)
    engines = workers(router, start_engines, 2, token_secs=0, faults={"cut": "before-head"})
    answer = router.chat("hello")
    assert answer.status_code == 502
    assert set(answer.json()) == {"error"}
    assert answer.json()["error"].startswith("Failed to connect to backend service: ")
    assert sum(engine.stats()["requests"] for engine in engines) == 3


def test_stale_connections_never_show(start_router: StartRouter, start_engines: StartEngines) -> None:
    """The engine closes what is idle for some milliseconds, which is just when the next request comes."""
    router = start_router(CONFIG)
    (engine,) = workers(router, start_engines, 1, token_secs=0, block_secs=0)
    # Not before it is registered: the probe's connection may go stale too, and is not tried again.
    engine.fault(idle_secs=0.004)
    chance = random.Random(4)
    body = b'{"prompt":"a","max_tokens":1}'
    with router.raw() as client:
        for number in range(STALE_REQUESTS):
            client.received = b""
            client.post("/v1/completions", body)
            head = client.read_until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), (number, head)
            client.read_until(b'"cached_tokens":0}}}')
            if number % 4 == 0:
                # Busy, because a sleep is never this short: the engine's timer must be met on either side.
                until = time.perf_counter() + chance.uniform(0.002, 0.006)
                while time.perf_counter() < until:
                    pass
    stats = engine.stats()
    assert (stats["requests"], stats["finished"]) == (STALE_REQUESTS, STALE_REQUESTS)
    assert stats["connections"] > STALE_REQUESTS // 16, "too few connections went stale to prove anything"


def test_connections_closed_right_after_the_answer(
    start_router: StartRouter, raw_worker: Callable[..., RawWorker]
) -> None:
    def answer(peer: Peer) -> None:
        peer.send(reply(b"{}"))
        peer.close()

    router = start_router(CONFIG)
    worker = raw_worker(answer)
    assert router.register(worker.port).status_code == 200
    for _ in range(300):
        assert router.post("/v1/completions", content=b'{"prompt":"a"}').status_code == 200
    assert len(worker.hits) == 300


def test_what_a_worker_says_reaches_the_client(
    start_router: StartRouter, start_engines: StartEngines
) -> None:
    said = '{"detail" : "queue\\u0020full", "n": 1.0}\n'
    headers = {"retry-after": "13", "x-reason": "because"}
    router = start_router(CONFIG)
    engines = workers(router, start_engines, 2)
    statuses = (400, 429, 500, 503)
    for status in statuses:
        for engine in engines:
            engine.fault(status=status, status_body=said, status_headers=headers)
        for stream in (False, True):
            for _ in range(6):
                answer = router.chat("hello", stream=stream)
                assert (answer.status_code, answer.text) == (status, said)
                assert {name: answer.headers.get(name) for name in headers} == headers
    # The first refusal for load is tried elsewhere, until it is known that all refuse.
    retries = int(router.metrics().value("fd_router_retries_total"))
    assert retries <= 2
    assert sum(engine.stats()["refused"] for engine in engines) == 12 * len(statuses) + retries
    assert router.numbers()["mixed"] == 2


def test_quiet_stream(start_router: StartRouter, start_engine: StartEngine) -> None:
    """Silence within a stream outlasts everything that is timed but the idle limit."""
    router = start_router(
        """
        manager: {health-check-interval-secs: 0.2, health-check-timeout-secs: 0.2}
        scheduler: {eviction-interval-secs: 0.2, stats-interval-secs: 0.2}
        upstream: {keep-alive-secs: 0.2, first-byte-timeout-secs: 0.8, connect-timeout-secs: 0.5}
        """
    )
    start_engine(router, token_secs=1.5)
    router.wait_workers(mixed=1)
    answer = router.chat("hello", stream=True, max_tokens=2)
    assert Events.parse(answer.content).finished
