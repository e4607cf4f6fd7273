"""The scheduler at the border: arguments, errors, leases, threads. The policies themselves are tested in Rust."""

from __future__ import annotations

import gc
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from fd_router._core import POLICIES, Lease, Request, Scheduler
from fd_router.config import SchedulerConfig
from fd_router.routing.scheduling import arguments
from fd_router.types import ROLES
from rig import core
from rig.core import book

if TYPE_CHECKING:
    from fd_router.types import Role

NAMES = [policy.name for policy in POLICIES]
LONG = "aaaabbbbccccddddeeeeffffgggghhhhiiiijjjj"


def request(text: str = "hello", **members: object) -> Request:
    return Request.scan(json.dumps({"prompt": text, **members}).encode(), False)


def fleet(policy: str = "request_num", workers: str = "ab", **options: Any) -> Scheduler:
    scheduler = core.scheduler({"mixed": policy}, cache_block_size=4, **options)
    for url in workers:
        scheduler.add(url, "mixed")
    return scheduler


def test_the_ten_policies_are_named() -> None:
    assert NAMES == [
        "random",
        "round_robin",
        "power_of_two",
        "process_tokens",
        "request_num",
        "fd_metrics_score",
        "fd_remote_metrics_score",
        "cache_aware",
        "remote_cache_aware",
        "least_work",
    ]
    assert {policy.name for policy in POLICIES if policy.reads_prefixes} == {
        "cache_aware",
        "remote_cache_aware",
        "least_work",
    }
    assert {policy.name for policy in POLICIES if policy.reads_remote_load} == {
        "fd_remote_metrics_score",
        "remote_cache_aware",
    }


@pytest.mark.parametrize("policy", NAMES)
@pytest.mark.parametrize("role", ROLES)
def test_every_policy_serves_every_role(policy: str, role: Role) -> None:
    scheduler = core.scheduler({role: policy})
    for url in "abc":
        scheduler.add(url, role)
    leases = [book(scheduler, role, request(LONG)) for _ in range(20)]
    assert {lease.url for lease in leases} <= set("abc")
    assert sum(running for _, _, running, _ in scheduler.loads()) == 20
    assert sum(tokens for *_, tokens in scheduler.loads()) == 20 * 2 * len(LONG)
    leases.clear()
    assert scheduler.loads() == [(url, role, 0, 0) for url in "abc"]


def test_a_lease_is_given_back_once() -> None:
    scheduler = fleet(workers="a")
    lease, other = (book(scheduler, "mixed", request("hello")) for _ in range(2))
    assert (lease.url, scheduler.loads()) == ("a", [("a", "mixed", 2, 20)])
    for give_back, left in [
        (lease.first_byte, (2, 10)),
        (lease.release, (1, 10)),
        (other.release, (0, 0)),
    ]:
        for _ in range(2):
            give_back()
            assert scheduler.loads() == [("a", "mixed", *left)]


def test_dropping_a_lease_gives_it_back() -> None:
    scheduler = fleet()
    lease = scheduler.select("mixed", request("hello"))
    assert scheduler.loads()[0] == ("a", "mixed", 1, 10)
    del lease
    gc.collect()
    assert scheduler.loads()[0] == ("a", "mixed", 0, 0)


def test_a_lease_outlives_its_scheduler() -> None:
    lease = book(fleet(), "mixed", request("hello"))
    gc.collect()
    lease.release()
    assert lease.url == "a"


def test_decisions_are_counted() -> None:
    scheduler = fleet("cache_aware")
    for text in (LONG, LONG, ""):
        lease = book(scheduler, "mixed", request(text))
        lease.answered()
        lease.release()
    decisions = scheduler.decisions()
    assert decisions.outcomes == [("process_tokens", "fallback", 1), ("cache_aware", "chosen", 2)]
    assert (decisions.hit_buckets[0], decisions.hit_buckets[10], decisions.hit_sum) == (1, 1, 1.0)


@pytest.mark.parametrize(("way", "hit"), [("", 0.0), ("answered", 1.0), ("first_byte", 1.0)])
def test_a_prompt_that_got_no_answer_is_taken_back(way: str, hit: float) -> None:
    scheduler = fleet("cache_aware", "a")
    lease = book(scheduler, "mixed", request(LONG))
    if way:
        getattr(lease, way)()
    lease.release()
    book(scheduler, "mixed", request(LONG))
    assert scheduler.decisions().hit_sum == hit


def test_token_ids_take_the_place_of_characters() -> None:
    scheduler = fleet("cache_aware")
    scheduler.select("mixed", request("x"), tokens=list(range(9)))
    assert scheduler.tree().blocks == 2


def test_excluded_workers_are_a_last_resort() -> None:
    scheduler = fleet()
    assert book(scheduler, "mixed", request(), exclude=("a",)).url == "b"
    assert book(scheduler, "mixed", request(), exclude=["a", "b"]).url == "a"


def test_a_role_without_workers_books_nothing() -> None:
    scheduler = fleet(workers="")
    assert scheduler.select("mixed", request()) is None
    assert scheduler.decisions().outcomes == [("request_num", "no_worker", 1)]


def test_a_role_without_policy_raises() -> None:
    with pytest.raises(ValueError, match="role decode is not served"):
        fleet().select("decode", request())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policies": {"mixed": "nonsense"}}, 'unknown policy "nonsense": use one of random, round_robin'),
        ({"policies": {"worker": "random"}}, 'unknown role "worker": use mixed, prefill or decode'),
        ({"cache_block_size": 0}, "block_size is 0"),
        ({"cache_max_memory_mb": 0}, "cache_max_bytes is 0: at least 1048576 is accepted"),
        ({"eviction_duration_mins": 0.0}, "eviction_secs is 0"),
        ({"hit_ratio_weight": -1.0}, "hit_ratio_weight is -1: a finite number from 0 on is accepted"),
        ({"balance_abs_threshold": float("nan")}, "balance_abs_threshold is NaN"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        core.scheduler(**{"policies": {"mixed": "random"}, **arguments})


def test_a_worker_leaves_and_returns() -> None:
    scheduler = fleet("cache_aware", "a")
    lease = book(scheduler, "mixed", request(LONG))
    assert scheduler.remove("a") == (1, 80)
    assert scheduler.remove("a") is None
    assert scheduler.count("mixed") == 0
    assert scheduler.loads() == [("a", "mixed", 1, 80)]
    assert scheduler.reap() == ([], ["a"])
    scheduler.add("a", "mixed")
    back = book(scheduler, "mixed", request(LONG))
    assert scheduler.loads() == [("a", "mixed", 2, 160)]
    assert scheduler.decisions().hit_sum == 0.0
    scheduler.remove("a")
    lease.release()
    back.release()
    assert scheduler.reap() == (["a"], [])
    assert scheduler.loads() == []


def test_engines_own_counts_decide() -> None:
    scheduler = fleet("fd_remote_metrics_score", waiting_weight=10.0)
    scheduler.observe("a", 5.0, 0.0)
    scheduler.observe("b", 1.0, 1.0)
    scheduler.observe("unknown", 0.0, 0.0)
    assert book(scheduler, "mixed", request()).url == "a"


def test_sessions_are_counted() -> None:
    scheduler = fleet("cache_aware")
    for _ in range(2):
        lease = book(scheduler, "mixed", request(LONG, session_id="s"))
        lease.answered()
        lease.release()
    assert scheduler.sessions() == (1, 2)


def test_old_blocks_expire() -> None:
    scheduler = fleet("cache_aware", eviction_duration_mins=0.001 / 60)
    scheduler.select("mixed", request(LONG))
    limit, dropped = time.monotonic() + 10, 0
    while scheduler.tree().blocks:
        assert time.monotonic() < limit
        blocks, more = scheduler.expire()
        dropped += blocks
    assert (dropped, more) == (10, False)
    stats = scheduler.tree()
    assert (stats.blocks, stats.nodes, stats.expired, stats.evicted) == (0, 0, 10, 0)
    assert 0 < stats.bytes < 1 << 20


@pytest.mark.parametrize("policy", NAMES)
def test_eight_threads_lose_nothing(policy: str) -> None:
    scheduler = fleet(policy, "abcdefgh")
    barrier = threading.Barrier(8)

    def decide(thread: int) -> None:
        barrier.wait()
        kept: list[Lease] = []
        for turn in range(200):
            lease = book(scheduler, "mixed", request(f"{LONG}{turn % 7}{thread}"))
            if turn % 2:
                lease.release()
            elif turn % 3:
                lease.first_byte()
                kept.append(lease)

    threads = [threading.Thread(target=decide, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert scheduler.loads() == [(url, "mixed", 0, 0) for url in "abcdefgh"]


def test_other_policies_and_weights_on_the_same_counters_and_prefixes() -> None:
    scheduler = fleet("cache_aware")
    held = book(scheduler, "mixed", request(LONG))
    wanted = arguments(
        SchedulerConfig(cache_block_size=4), {"mixed": "round_robin"}, metrics_interval_secs=1.0, seed=1
    )
    with pytest.raises(ValueError, match="unknown policy"):
        scheduler.retune({**wanted, "policies": {"mixed": "nonsense"}})
    with pytest.raises(ValueError, match="copy_cost is -1"):
        scheduler.retune({**wanted, "copy_cost": -1.0})
    assert [policy for policy, _, _ in scheduler.decisions().outcomes] == ["cache_aware"]
    scheduler.retune(wanted)
    turns = [book(scheduler, "mixed", request(LONG)).url for _ in range(4)]
    assert turns in (["a", "b", "a", "b"], ["b", "a", "b", "a"])
    assert {url: running for url, _, running, _ in scheduler.loads()} == {"a": 1, "b": 0}
    assert held.url == "a"
    assert {policy for policy, _, _ in scheduler.decisions().outcomes} == {"cache_aware", "round_robin"}
    assert scheduler.tree().blocks == len(LONG) // 4
