"""An exception anywhere in the router costs its own request a 500, and nobody else anything."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig import reply, sse_head, wait_for
from rig.memory import worker_pid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rig import Peer, RawWorker, Router, Stage

INTERNAL = {"code": 500, "msg": "Internal server error"}


@pytest.fixture
def router(stage: Stage, tmp_path: Path, raw_worker: Callable[..., RawWorker]) -> Iterator[Router]:
    """A router with traps, and a worker that answers with what the prompt asks for."""

    def answer(peer: Peer) -> bytes:
        prompt = json.loads(peer.body)["messages"][0]["content"]
        headers = [f"x-sabotage: {prompt}"]
        if json.loads(peer.body).get("stream"):
            return sse_head(*headers) + b"data: 1\n\ndata: [DONE]\n\n"
        return reply(b"{}", 200, *headers)

    shutil.copy(Path(__file__).with_name("sabotage.py"), tmp_path / "sitecustomize.py")
    router = stage.start_router(env={"PYTHONPATH": str(tmp_path)})
    worker = raw_worker(answer)
    assert router.register(worker.port).status_code == 200
    pid = worker_pid(router)
    yield router
    router.assert_idle()
    assert router.metrics().value("fd_router_upstream_exchanges") == 0
    assert router.chat("nothing").status_code == 200
    assert worker_pid(router) == pid


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("where", ["raise at selection", "panic at selection", "before", "panic"])
def test_before_the_answer(router: Router, where: str, stream: bool) -> None:
    for _ in range(3):
        answer = router.chat(where, stream=stream)
        assert (answer.status_code, answer.json()) == (500, INTERNAL)
        assert answer.headers["content-type"].startswith("application/json")
    wait_for(lambda: router.messages().count("Panic recovered: sabotage") == 3, why=router.log_text)


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


@pytest.mark.parametrize("path", ["/v1/models", "/registered"])
def test_in_other_handlers(router: Router, path: str) -> None:
    for _ in range(3):
        answer = router.get(path)
        assert (answer.status_code, answer.json()) == (500, INTERNAL)
