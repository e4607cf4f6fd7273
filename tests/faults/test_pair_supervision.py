"""Who is told what, and when, while one leg of a pair decides the fate of the other."""

from __future__ import annotations

import json
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from rig import Stage, reply, sse_head, wait_for
from rig.pairs import SECRET
from rig.router import chat_body
from rig.sse import Events
from rig.wait import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rig import Peer, RawWorker, Router

    Answer = Callable[[Peer], bytes | None]
    StartPairs = Callable[..., "Pairs"]

CONFIG = """
scheduler: {prefill-policy: round_robin, decode-policy: round_robin}
manager: {health-check-interval-secs: 3600, forget-after-secs: 0, eject-after-failures: 0}
upstream: {max-idle-per-worker: 0, first-byte-timeout-secs: 30, idle-timeout-secs: 30}
log: {level: debug}
"""
ROUNDS = 7
EVENT = b'data: {"n":1}\n\n'
DONE = b"data: [DONE]\n\n"


class Silent:
    """Answers nothing, or only a beginning, and notes when the router gave up."""

    def __init__(self, beginning: bytes = b"") -> None:
        self.beginning = beginning
        self.asked = 0
        self.given_up: list[float] = []

    def __call__(self, peer: Peer) -> None:
        self.asked += 1
        peer.send(self.beginning)
        assert peer.wait_closed(), "the router holds on to a leg that nobody waits for"
        self.given_up.append(time.monotonic())


class Timed:
    """Answers bytes, or resets the connection, as soon as the other leg is under way, and notes when."""

    def __init__(self, data: bytes | None, other: Silent) -> None:
        self.data = data
        self.other = other
        self.at: list[float] = []

    def __call__(self, peer: Peer) -> bytes | None:
        wait_for(lambda: self.other.asked > len(self.at), why="the other leg was not sent")
        self.at.append(time.monotonic())
        if self.data is None:
            peer.reset()
        return self.data


class Pairs:
    """Raw workers in both roles behind one router."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.prefill: list[RawWorker] = []
        self.decode: list[RawWorker] = []
        self._before = router.pair_outcomes()

    def ask(self, *, stream: bool = False, **fields: Any) -> Any:
        return self.router.chat(SECRET, stream=stream, **fields)

    def outcomes(self) -> dict[str, int]:
        """Pairs by outcome once all is over, without zeros and without those before this test."""
        self.router.assert_idle()
        return dict(self.router.pair_outcomes() - self._before)

    def hits(self) -> tuple[list[int], list[int]]:
        """Requests by worker, fewest first: (prefill, decode)."""
        return sorted(len(it.hits) for it in self.prefill), sorted(len(it.hits) for it in self.decode)

    def close(self) -> None:
        """No request is left, and the router is free for the next test."""
        self.router.assert_idle()
        for worker in (*self.prefill, *self.decode):
            assert self.router.unregister(worker.port).status_code == 200


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    stage = Stage(tmp_path_factory.mktemp("supervision"))
    try:
        router = stage.start_router(CONFIG, "--splitwise")
        yield router
        # Only once it has ended, the log is complete.
        assert router.stop() == 0
        assert SECRET not in router.log_text()
    finally:
        stage.close()


@pytest.fixture
def start_pairs(shared: Router, raw_worker: Callable[..., RawWorker]) -> Iterator[StartPairs]:
    """`start_pairs(answer of prefill, answer of decode, number of each)`."""
    started: list[Pairs] = []

    def start(prefill: Answer, decode: Answer, number: int = 1, router: Router = shared) -> Pairs:
        pairs = Pairs(router)
        started.append(pairs)
        for role, answer, workers in (("prefill", prefill, pairs.prefill), ("decode", decode, pairs.decode)):
            for _ in range(number):
                workers.append(raw_worker(answer))
                assert router.register(workers[-1].port, role).status_code == 200
        return pairs

    yield start
    for pairs in started:
        pairs.close()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_first_byte_does_not_wait_for_prefill(start_pairs: StartPairs, stream: bool) -> None:
    received = threading.Event()

    def decode(peer: Peer) -> bytes | None:
        if not stream:
            return reply(b'{"a":1}')
        peer.send(sse_head() + EVENT)
        assert received.wait(LIMIT), "the client's first byte waits for prefill"
        peer.send(DONE)
        peer.close()
        return None

    prefill = Silent()
    pairs = start_pairs(prefill, decode)
    got = b""
    with pairs.router.stream("/v1/chat/completions", chat_body(SECRET, stream=stream)) as answer:
        for data in answer.iter_raw():
            got += data
            received.set()
    assert got == (EVENT + DONE if stream else b'{"a":1}')
    wait_for(lambda: prefill.given_up, why="prefill is still asked after decode has answered")
    assert pairs.outcomes() == {"completed": 1}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("refuser", ["prefill", "decode"])
@pytest.mark.parametrize("status", [400, 422])
def test_refused_requests_are_not_retried(
    start_pairs: StartPairs, refuser: str, status: int, stream: bool
) -> None:
    other = Silent()
    refusal = Timed(reply(b'{"no": 1.0}\n', status, "retry-after: 7", "x-a: b"), other)
    pairs = start_pairs(refusal, other, 2) if refuser == "prefill" else start_pairs(other, refusal, 2)
    answer = pairs.ask(stream=stream)
    assert (answer.status_code, answer.content) == (status, b'{"no": 1.0}\n')
    assert (answer.headers["retry-after"], answer.headers["x-a"]) == ("7", "b")
    assert pairs.hits() == ([0, 1], [0, 1])
    wait_for(lambda: other.given_up, why="the other leg goes on")
    assert pairs.outcomes() == {f"{refuser}_refused": 1}


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("failing", ["prefill", "decode"])
def test_when_all_refuse_the_client_has_the_failing_leg_s_answer(
    start_pairs: StartPairs, failing: str, status: int, number: int
) -> None:
    other = Silent()
    failure = Timed(reply(b'{"broken": true}', status, "retry-after: 3"), other)
    pairs = (
        start_pairs(failure, other, number) if failing == "prefill" else start_pairs(other, failure, number)
    )
    answer = pairs.ask()
    assert (answer.status_code, answer.content) == (status, b'{"broken": true}')
    assert answer.headers["retry-after"] == "3"
    assert pairs.hits()[failing == "decode"] == [1] * number, "each is asked once"
    wait_for(lambda: len(other.given_up) == number, why="the other legs go on")
    last = f"{failing}_refused" if status == 429 else f"{failing}_failed"
    repaired = {f"{failing}_failed_repaired": 1} if number == 2 else {}
    assert pairs.outcomes() == {last: 1, **repaired}


@pytest.mark.parametrize("refuser", ["prefill", "decode"])
def test_a_refusal_for_load_is_served_by_another(start_pairs: StartPairs, refuser: str) -> None:
    """Only one of the two has no room; decode, which needs a prefill's KV, waits for one that serves."""
    refused: list[int] = []
    served = threading.Event()

    def sometimes(peer: Peer) -> bytes:
        refused.append(peer.connection.getsockname()[1])
        if refused[-1] == refused[0]:
            return reply(b"{}", 429)
        served.set()
        return reply(b'{"a":1}')

    def well(_: Peer) -> bytes | None:
        return reply(b'{"a":1}') if refuser == "decode" or served.wait(LIMIT) else None

    pairs = start_pairs(sometimes, well, 2) if refuser == "prefill" else start_pairs(well, sometimes, 2)
    assert pairs.ask().content == b'{"a":1}'
    assert len(set(refused)) == 2
    assert pairs.outcomes() == {f"{refuser}_failed_repaired": 1, "completed": 1}


def test_the_next_pair_has_another_decode(
    start_pairs: StartPairs, start_router: Callable[..., Router]
) -> None:
    """The first one may still know a request of this id; both are idle, so that the policy would take it again."""
    router = start_router(CONFIG.replace("round_robin", "request_num"), "--splitwise")
    other = Silent()
    pairs = start_pairs(Timed(None, other), other, 2, router=router)
    for number in range(1, ROUNDS + 1):
        assert pairs.ask().status_code == 502
        assert [len(it.hits) for it in (*pairs.prefill, *pairs.decode)] == [number] * 4
    assert pairs.outcomes() == {"prefill_failed_repaired": ROUNDS, "prefill_failed": ROUNDS}


@pytest.mark.parametrize("failing", ["prefill", "decode"])
def test_lost_twice_is_a_502(start_pairs: StartPairs, failing: str) -> None:
    other = Silent()
    reset = Timed(None, other)
    pairs = start_pairs(reset, other, 2) if failing == "prefill" else start_pairs(other, reset, 2)
    for request_id in ("r-1", None):
        answer = pairs.ask(request_id=request_id) if request_id else pairs.ask()
        assert answer.status_code == 502
        assert answer.headers["content-type"].startswith("application/json")
        assert {"x-router-prefill-url", "x-router-decode-url"} <= set(answer.headers)
        error = json.loads(answer.content)
        assert error["error"].startswith("Failed to connect to backend service: ")
        assert set(error) == {"error", "request_id"}
        if request_id:
            assert error["request_id"] == request_id
        else:
            UUID(error["request_id"], version=4)
            assert {json.loads(it.hits[-1].body)["request_id"] for it in pairs.prefill} == {
                error["request_id"]
            }
    wait_for(lambda: len(other.given_up) == 4, why="the other legs go on")
    assert pairs.outcomes() == {f"{failing}_failed_repaired": 2, f"{failing}_failed": 2}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "data", [None, reply(b"{}", 500), reply(b"{}", 400)], ids=["reset", "failed", "refused"]
)
@pytest.mark.parametrize("cause", ["prefill", "decode"])
def test_the_other_leg_is_cancelled_at_once(
    start_pairs: StartPairs, cause: str, data: bytes | None, stream: bool
) -> None:
    other = Silent()
    ended = Timed(data, other)
    pairs = start_pairs(ended, other) if cause == "prefill" else start_pairs(other, ended)
    noise = []
    for _ in range(ROUNDS):
        noise.append(pairs.router.round_trip())
        assert pairs.ask(stream=stream).status_code in (400, 500, 502)
    wait_for(lambda: len(other.given_up) == len(ended.at), why="a leg goes on for nobody")
    delays = [gone - at for at, gone in zip(ended.at, other.given_up, strict=True)]
    # Each of them; measured from before the bytes are sent, so that what the router takes to read them counts too.
    assert max(delays) < 0.1 + max(noise), (delays, noise)


def test_prefill_s_end_is_of_no_account_once_decode_answers(start_pairs: StartPairs) -> None:
    begun, cut = threading.Event(), threading.Event()

    def prefill(peer: Peer) -> None:
        assert begun.wait(LIMIT)
        peer.reset()
        cut.set()

    def decode(peer: Peer) -> None:
        peer.send(sse_head() + EVENT)
        assert cut.wait(LIMIT)
        wait_for(lambda: pairs.router.metrics().value("fd_router_upstream_exchanges") == 1)
        peer.send(EVENT + DONE)
        peer.close()

    pairs = start_pairs(prefill, decode)
    got = b""
    with pairs.router.stream("/v1/chat/completions", chat_body(SECRET, stream=True)) as answer:
        for data in answer.iter_raw():
            got += data
            begun.set()
    assert got == EVENT + EVENT + DONE
    assert pairs.outcomes() == {"completed": 1}


def test_decode_cut_after_a_byte_ends_prefill_too(start_pairs: StartPairs) -> None:
    prefill = Silent()
    received = threading.Event()

    def decode(peer: Peer) -> None:
        peer.send(sse_head() + EVENT + b'data: {"n"')
        assert received.wait(LIMIT)
        peer.reset()

    pairs = start_pairs(prefill, decode, 2)
    got = b""
    with pairs.router.stream("/v1/chat/completions", chat_body(SECRET, stream=True)) as answer:
        for data in answer.iter_raw():
            got += data
            received.set()
    assert got.startswith(EVENT + b'data: {"n"\n\ndata: ')
    assert Events.parse(got).error()["code"] == "reset_mid_body"
    wait_for(lambda: prefill.given_up, why="prefill goes on")
    assert pairs.hits() == ([0, 1], [0, 1])
    assert pairs.outcomes() == {"decode_cut": 1}


def both_gave_up(prefill: Silent, decode: Silent, number: int) -> bool:
    return len(prefill.given_up) == len(decode.given_up) == number


@pytest.mark.parametrize(
    ("stream", "beginning"),
    [
        (False, b""),
        (True, b""),
        (True, sse_head() + EVENT),
        (False, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n12"),
        (False, b"HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n" + b"1" * 200_000),
    ],
    ids=["whole-waiting", "stream-waiting", "mid-stream", "collecting", "mid-body"],
)
def test_client_leaves(start_pairs: StartPairs, stream: bool, beginning: bytes) -> None:
    prefill, decode = Silent(), Silent(beginning)
    pairs = start_pairs(prefill, decode)
    body = json.dumps(chat_body(SECRET, stream=stream)).encode()
    delays, noise = [], []
    for number in range(1, ROUNDS + 1):
        noise.append(pairs.router.round_trip())
        client = pairs.router.raw()
        client.post("/v1/chat/completions", body)
        for worker in (*pairs.prefill, *pairs.decode):
            worker.wait_hits(number)
        if EVENT in beginning:
            client.read_until(EVENT)
        elif len(beginning) > 100_000:
            client.read_until(b"1" * 100_000)
        left = time.monotonic()
        client.close()
        wait_for(partial(both_gave_up, prefill, decode, number))
        delays.append(max(prefill.given_up[-1], decode.given_up[-1]) - left)
    assert max(delays) < 0.5 + max(noise), (delays, noise)
    assert pairs.hits() == ([ROUNDS], [ROUNDS])


def test_a_silent_leg_costs_no_client_its_answer(
    start_pairs: StartPairs, start_router: Callable[..., Router]
) -> None:
    """By these policies the silent worker is the best one again, and decode was silent too for want of its KV."""
    asked: list[int] = []
    kv = threading.Event()

    def prefill(peer: Peer) -> bytes | None:
        asked.append(peer.connection.getsockname()[1])
        if asked[-1] == asked[0]:
            peer.wait_closed()
            return None
        kv.set()
        return reply(b"{}")

    def decode(_: Peer) -> bytes:
        assert kv.wait(LIMIT)
        return reply(b'{"a":1}')

    config = CONFIG.replace("first-byte-timeout-secs: 30", "first-byte-timeout-secs: 1")
    router = start_router(config.replace("round_robin", "request_num"), "--splitwise")
    pairs = start_pairs(prefill, decode, 2, router)
    answer = pairs.ask()
    assert (answer.status_code, answer.content) == (200, b'{"a":1}')
    assert len(set(asked)) == 2
