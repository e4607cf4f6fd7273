"""Health: cases 39 to 42."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from parity.scene import Held, add_pair, add_worker, register, wait_running
from rig import Router, Stage, wait_for


def test_case_039_worker_dies(watchful: Router, stage: Stage) -> None:
    worker = add_worker(stage, watchful)
    worker.stop()
    watchful.wait_workers(mixed=0)
    watchful.wait_log(rf"^\[ERROR\] .* Removed unhealthy mixed instance: {worker.url}$")
    watchful.wait_log(rf"^\[ERROR\] .* failed to send request to {worker.url}/health with error: .")
    watchful.wait_log(rf"^\[INFO\] .* cleanup unhealthy worker counter: {worker.url}$")
    watchful.wait_log(rf"^\[INFO\] .* cleanup unhealthy worker token counter: {worker.url}$")
    assert watchful.chat("hello").status_code == 502


def test_case_040_third_probe_of_a_round_saves(start_router: Callable[..., Router], stage: Stage) -> None:
    router = start_router("manager: {health-failure-threshold: 3, health-check-interval-secs: 0.2}")
    worker = add_worker(stage, router)
    worker.next_health = [500, 500]
    before = worker.probes
    # Two failures, the success that saves, and one of the next round.
    wait_for(lambda: worker.probes >= before + 4, why="the monitor does not probe")
    assert worker.next_health == []
    assert router.numbers()["mixed"] == 1
    assert "Removed unhealthy" not in router.settled_log()
    worker.next_health = [500, 500, 500]
    router.wait_log(rf"Removed unhealthy mixed instance: {worker.url}$")


def test_case_041_back_with_what_is_in_flight(
    watchful: Router, stage: Stage, in_background: Callable[..., Future[Any]]
) -> None:
    held = Held()
    worker = add_worker(stage, watchful, held)
    first = in_background(watchful.chat, "hello")
    worker.wait_hits(1)
    worker.health = 503
    watchful.wait_workers(mixed=0)
    watchful.wait_log(
        rf"^\[INFO\] .* unhealthy worker counter preserved \(inflight requests\): {worker.url}, count: 1$"
    )
    watchful.wait_log(
        rf"unhealthy worker token counter preserved \(inflight requests\): {worker.url}, tokens: 10$"
    )
    worker.health = 200
    register(watchful, worker)
    assert watchful.numbers()["mixed"] == 1
    wait_running(watchful, **{worker.url: 1})
    second = in_background(watchful.chat, "hello")
    watchful.wait_log(rf"select worker \(mixed\): {worker.url}, count: 2$")
    held.let_go()
    assert (first.result().status_code, second.result().status_code) == (200, 200)
    wait_running(watchful, **{worker.url: 0})


def test_case_042_health_generate(split: Router, stage: Stage) -> None:
    pair = add_pair(stage, split)
    pair.decode.stop()
    answer = split.get("/health_generate")
    assert (answer.status_code, answer.text) == (200, '{"code":200,"msg":"Health check complete"}')
    split.wait_log(rf"^\[WARN\] .* Server {pair.decode.url} is not healthy$")
    split.wait_log(rf"^\[INFO\] .* Server {pair.prefill.url} is healthy$")
    assert split.numbers() == {"decode": 1, "mixed": 0, "prefill": 1}


def test_counters_of_workers_that_left(
    start_router: Callable[..., Router], stage: Stage, in_background: Callable[..., Future[Any]]
) -> None:
    """The clean-up of every `eviction-interval-secs`, which rests while nobody is registered."""
    router = start_router("scheduler: {eviction-interval-secs: 0.2}")
    held = Held()
    gone = add_worker(stage, router, held)
    under_way = in_background(router.chat, "hello")
    gone.wait_hits(1)
    assert router.post("/unregister", {"url": gone.url}).status_code == 200
    add_worker(stage, router)
    listed = rf"\[{re.escape(gone.url)}\]$"
    router.wait_log(rf"^\[INFO\] .* preserved counters for 1 workers with inflight requests: {listed}")
    held.let_go()
    assert under_way.result().status_code == 200
    router.wait_log(rf"^\[INFO\] .* removed counters for 1 unhealthy workers: {listed}")
    assert gone.url not in router.running()
