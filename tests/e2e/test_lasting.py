"""Conditions that last are told of once, and their end is."""

from __future__ import annotations

from rig import Peer, Stage, reply

METRICS = b"fastdeploy:num_requests_running 1\nfastdeploy:num_requests_waiting 0\n"
ILL = reply(b"{}", 404)


def test_an_engine_without_metrics(stage: Stage) -> None:
    router = stage.start_router(
        "scheduler: {policy: fd_remote_metrics_score}\nmanager: {metrics-interval-secs: 0.05}"
    )
    well = [False]
    worker = stage.raw_worker(lambda _: reply(METRICS) if well[0] else ILL)
    assert router.register(worker.port).status_code == 200
    worker.wait_hits(5)
    well[0] = True
    ended = router.wait_log(rf"over: {worker.url} has no metrics to go by; .* met (\d+) times$")
    assert int(ended[1]) >= 5
    assert router.settled_log().count("GetRemoteMetrics failed") == 1


def test_a_tokenizer_that_fails(stage: Stage) -> None:
    well = [False]
    service = stage.raw_worker(lambda _: reply(b'{"input_ids": [1, 2]}') if well[0] else ILL)
    router = stage.start_router(f"scheduler: {{policy: cache_aware, tokenizer-url: '{service.url}'}}")
    worker = stage.raw_worker(lambda _: reply(b"{}"))
    assert router.register(worker.port).status_code == 200
    for _ in range(3):
        assert router.chat("hello").status_code == 200
    assert len(service.hits) == 3
    well[0] = True
    assert router.chat("hello").status_code == 200
    router.wait_log(r"over: the tokenizer fails; .* met 3 times$")
    assert router.settled_log().count("tokenizer failed") == 1


def test_an_engine_that_registers_and_does_not_answer_probes(stage: Stage) -> None:
    router = stage.start_router()
    worker = stage.raw_worker(lambda _: reply(b"{}"))
    worker.stop()
    for _ in range(3):
        assert router.register(worker.port).status_code == 503
    assert router.settled_log().count(f"failed to send request to {worker.url}/health") == 1


def test_a_limit_that_turns_requests_away(stage: Stage) -> None:
    router = stage.start_router("server: {max-in-flight: 1}")
    inner: list[int] = []

    def busy(peer: Peer) -> bytes:
        inner.extend(router.chat("y").status_code for _ in range(3))
        return reply(b"{}")

    worker = stage.raw_worker(busy)
    assert router.register(worker.port).status_code == 200
    assert router.chat("x").status_code == 200
    assert inner == [503] * 3
    assert router.settled_log().count("limit: 1 requests in flight") == 1
