"""An exception anywhere in the router costs its own request a 500, and nobody else anything."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig import Stage, reply, sse_head, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig import Peer, Router

INTERNAL = {"code": 500, "msg": "Internal server error"}


def answer(peer: Peer) -> bytes:
    """What the prompt asks for is said in a header, for the traps in the router."""
    asked = json.loads(peer.body)
    headers = [f"x-sabotage: {asked['messages'][0]['content']}"]
    if asked.get("stream"):
        return sse_head(*headers) + b"data: 1\n\ndata: [DONE]\n\n"
    return reply(b"{}", 200, *headers)


def has(router: Router, message: str, number: int) -> bool:
    return router.messages().count(message) >= number


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    folder = tmp_path_factory.mktemp("sabotage")
    shutil.copy(Path(__file__).with_name("sabotage.py"), folder / "sitecustomize.py")
    stage = Stage(folder)
    try:
        router = stage.start_router(env={"PYTHONPATH": str(folder)})
        assert router.register(stage.raw_worker(answer).port).status_code == 200
        yield router
    finally:
        stage.close()


@pytest.fixture
def router(shared: Router) -> Iterator[Router]:
    """A router with traps; after each test it is sound, and the same process as before."""
    shared.forget_log()
    yield shared
    shared.assert_idle()
    assert shared.metrics().value("fd_router_upstream_exchanges") == 0
    assert shared.chat("nothing").status_code == 200
    shared.assert_same_worker()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("where", ["raise at selection", "panic at selection", "before", "panic"])
def test_before_the_answer(router: Router, where: str, stream: bool) -> None:
    for _ in range(3):
        answer = router.chat(where, stream=stream)
        assert (answer.status_code, answer.json()) == (500, INTERNAL)
        assert answer.headers["content-type"].startswith("application/json")
    assert router.settled_log().count("Panic recovered: sabotage\n") == 3


def test_after_the_answer(router: Router) -> None:
    """The answer is out: nothing is added to it, and the connection is good for the next request."""
    for _ in range(3):
        answer = router.chat("after")
        assert (answer.status_code, answer.content) == (200, b"{}")


def test_at_the_first_byte_of_a_stream(router: Router) -> None:
    """What is noted there is not worth an answer that is already on its way."""
    answer = router.chat("first", stream=True)
    assert (answer.status_code, answer.content) == (200, b"data: 1\n\ndata: [DONE]\n\n")
    router.wait_log("RuntimeError: sabotage")


def test_background_rounds_go_on_after_a_panic(stage: Stage) -> None:
    """Each is told of, and the round still does its work: a worker that ends is lost, and one that returns is back."""
    shutil.copy(Path(__file__).with_name("sabotage.py"), stage.folder / "sitecustomize.py")
    router = stage.start_router(
        "manager: {health-check-interval-secs: 0.05, metrics-interval-secs: 0.05}\n"
        "scheduler: {policy: fd_remote_metrics_score, stats-interval-secs: 0.05, eviction-interval-secs: 0.05}",
        env={"PYTHONPATH": str(stage.folder), "SABOTAGE_ROUNDS": "1"},
    )
    worker = stage.raw_worker(lambda peer: answer(peer) if peer.body else reply(b""))
    assert router.register(worker.port).status_code == 200
    for rounds in ("Monitor.round", "Upkeep.reap", "Stats.round", "RemoteLoad.round"):
        for number in (0, 2, 4):
            told = f"Panic recovered: sabotage of {rounds}, round {number}"
            wait_for(partial(has, router, told, 1), why=router.log_text)
    worker.health = 500
    router.wait_workers(mixed=0)
    worker.health = 200
    router.wait_workers(mixed=1)
    assert router.chat("nothing").status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/registered"])
def test_in_other_handlers(router: Router, path: str) -> None:
    for _ in range(3):
        answer = router.get(path)
        assert (answer.status_code, answer.json()) == (500, INTERNAL)
