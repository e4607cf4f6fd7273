"""Who is chosen: cases 63 to 71, 76 and 77."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from parity.conftest import lend
from parity.scene import Held, add_worker, add_workers, at_once, by_url, register, wait_running
from rig import Peer, RawWorker, Router, Stage, reply

Background = Callable[..., Future[Any]]


def served(workers: list[RawWorker]) -> list[int]:
    return [len(worker.hits) for worker in workers]


def test_case_063_request_num_one_each(mixed: Router, stage: Stage, in_background: Background) -> None:
    held = Held()
    workers = add_workers(stage, mixed, 2, held)
    first = in_background(mixed.chat, "hello")
    workers[0].wait_hits(1)
    second = in_background(mixed.chat, "hello")
    workers[1].wait_hits(1)
    held.let_go()
    assert (first.result().status_code, second.result().status_code) == (200, 200)
    assert served(workers) == [1, 1]


def test_case_064_order_of_urls_is_that_of_text(mixed: Router, stage: Stage) -> None:
    """On loopback: 127.0.0.10 and 127.0.0.2."""
    two = add_worker(stage, mixed, host="127.0.0.2")
    ten = add_worker(stage, mixed, host="127.0.0.10")
    assert [item["url"] for item in mixed.get("/registered").json()["mixed"]] == [ten.url, two.url]
    assert mixed.chat("hello").status_code == 200
    assert served([ten, two]) == [1, 0]


def test_case_065_round_robin(stage: Stage, with_policy: Callable[..., Router]) -> None:
    router = with_policy("round_robin")
    workers = add_workers(stage, router, 3)
    order = []
    for _ in range(6):
        before = served(workers)
        assert router.chat("hello").status_code == 200
        order += [index for index, hits in enumerate(served(workers)) if hits > before[index]]
    assert order == [0, 1, 2, 0, 1, 2]


def test_case_066_round_robin_of_pairs(stage: Stage, with_policy: Callable[..., Router]) -> None:
    """The roles count for themselves: an uneven number of workers would drift apart otherwise."""
    router = with_policy("round_robin", splitwise=True)
    roles = {
        role: sorted((add_worker(stage, router, role=role) for _ in range(2)), key=by_url)
        for role in ("prefill", "decode")
    }
    order = []
    for _ in range(4):
        answer = router.chat("hello")
        assert answer.status_code == 200
        urls = answer.headers["x-router-prefill-url"], answer.headers["x-router-decode-url"]
        order.append(
            tuple(
                [worker.url for worker in roles[role]].index(url)
                for role, url in zip(roles, urls, strict=True)
            )
        )
    assert order == [(0, 0), (1, 1), (0, 0), (1, 1)]


def test_case_067_power_of_two_with_one(stage: Stage, with_policy: Callable[..., Router]) -> None:
    router = with_policy("power_of_two")
    worker = add_worker(stage, router)
    assert [router.chat("hello").status_code for _ in range(5)] == [200] * 5
    assert served([worker]) == [5]


def test_case_068_power_of_two_takes_the_idle_one(
    stage: Stage, with_policy: Callable[..., Router], in_background: Background
) -> None:
    router = with_policy("power_of_two")
    held = Held()
    busy = add_worker(stage, router, held)
    under_way = in_background(router.chat, "hello")
    busy.wait_hits(1)
    idle = add_worker(stage, router)
    assert [router.chat("hello").status_code for _ in range(20)] == [200] * 20
    assert served([busy, idle]) == [1, 20]
    held.let_go()
    assert under_way.result().status_code == 200


def test_case_069_random(stage: Stage, with_policy: Callable[..., Router]) -> None:
    router = with_policy("random")
    workers = add_workers(stage, router, 2)
    statuses = Counter(router.chat("hello").status_code for _ in range(1000))
    assert statuses == {200: 1000}
    assert all(400 <= hits <= 600 for hits in served(workers)), served(workers)


def test_case_070_unknown_policy_is_random(stage: Stage) -> None:
    """400 requests: the chance of fewer than 130 for one of two workers is 1e-12."""
    router = stage.start_router("scheduler: {policy: nonsense}")
    router.wait_log(r"^\[ERROR\] .*scheduler\.policy.*nonsense.*round_robin.*remote_cache_aware")
    workers = add_workers(stage, router, 2)
    statuses = Counter(router.chat("hello").status_code for _ in range(400))
    assert statuses == {200: 400}
    assert all(hits >= 130 for hits in served(workers)), served(workers)


def test_case_071_process_tokens(split: Router, stage: Stage, in_background: Background) -> None:
    held = Held()
    prefills = sorted((add_worker(stage, split, held, "prefill") for _ in range(2)), key=by_url)
    add_worker(stage, split, held, "decode")
    first = in_background(split.chat, "a long prompt " * 50)
    prefills[0].wait_hits(1)
    wait_running(split, **{prefills[0].url: 1})
    second = in_background(split.chat, "short")
    prefills[1].wait_hits(1)
    third = in_background(split.chat, "short")
    wait_running(split, **{prefills[1].url: 2})
    held.let_go()
    assert [future.result().status_code for future in (first, second, third)] == [200] * 3
    assert served(prefills) == [1, 2]


REMOTE = (
    "scheduler: {policy: fd_remote_metrics_score, waiting-weight: 10}\n"
    "manager: {health-check-interval-secs: 3600, metrics-interval-secs: 3}\n"
)


class Metered:
    """Answers inference, and `/metrics` as an engine does."""

    def __init__(self, running: int, waiting: int) -> None:
        self.text = (
            "# TYPE fastdeploy:num_requests_running gauge\n"
            f"fastdeploy:num_requests_running {running}\n"
            f"fastdeploy:num_requests_waiting {waiting}\n"
            "available_gpu_block_num 100\n"
        ).encode()

    def __call__(self, peer: Peer) -> bytes:
        return reply(self.text, content_type="text/plain") if peer.path == "/metrics" else at_once(peer)


def served_chats(workers: list[RawWorker]) -> list[int]:
    return [sum(hit.path != "/metrics" for hit in worker.hits) for worker in workers]


@pytest.fixture(scope="module")
def shared_remote(shared_stage: Stage) -> Router:
    return shared_stage.start_router(REMOTE)


@pytest.fixture
def remote(stage: Stage, shared_remote: Router) -> Iterator[Router]:
    with lend(shared_remote) as router:
        yield router


def test_case_076_remote_metrics(remote: Router, stage: Stage) -> None:
    """The better one is the later one by url, where a tie would not send the request."""
    workers = sorted((stage.raw_worker(at_once) for _ in range(2)), key=by_url)
    workers[0].answer, workers[1].answer = Metered(1, 1), Metered(5, 0)
    for worker in workers:
        register(remote, worker)
    assert remote.chat("hello").status_code == 200
    assert served_chats(workers) == [0, 1]


def test_case_077_metrics_port_closed(remote: Router, stage: Stage) -> None:
    closed = stage.raw_worker(at_once)
    closed.stop()
    local = add_worker(stage, remote, metrics_port=closed.port)
    busy = add_worker(stage, remote, Metered(5, 0))
    assert remote.chat("hello").status_code == 200
    assert served_chats([local, busy]) == [1, 0]
    remote.wait_log(
        rf"^\[WARN\] .* GetRemoteMetrics failed for {local.url}, falling back to local counter: ."
    )
