"""Prompts that are no plain text: spread like text, and matched like text, in mixed mode and in pairs."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from fd_router._core import POLICIES
from rig import Stage, reply, wait_for
from rig.table import FULL
from rig.wait import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rig import Peer, RawWorker, Router

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HELD = 12
BLIND = ("random", "round_robin", "power_of_two")
NAMES = [policy.name for policy in POLICIES if policy.name not in BLIND]
TESTED = NAMES if FULL else ["process_tokens", "cache_aware", "least_work"]
MATCHING = {policy.name for policy in POLICIES if policy.reads_prefixes}
TOOL = {"type": "function", "function": {"name": "look_up", "description": "looks it up", "parameters": {}}}


def chat(*messages: dict[str, Any], **fields: Any) -> tuple[str, dict[str, Any]]:
    return CHAT, {"model": "mock", "messages": list(messages), **fields}


def ids(number: int) -> list[int]:
    return [number * 1000 + index for index in range(300)]


def words(number: int) -> str:
    return f"{number * 7919:x} is the result of the call; " * 12


def image(number: int) -> dict[str, Any]:
    url = f"data:image/png;base64,{number * 7919:016x}" + "A" * 600
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}


def tool_result(number: int) -> tuple[str, dict[str, Any]]:
    call = {"id": "c-1", "type": "function", "function": {"name": "look_up", "arguments": words(number)}}
    return chat(
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c-1", "content": [{"type": "text", "text": words(number + 1)}]},
        tools=[TOOL],
    )


KINDS: dict[str, Callable[[int], tuple[str, dict[str, Any]]]] = {
    "ids": lambda number: (COMPLETIONS, {"prompt": ids(number)}),
    "list of ids": lambda number: (COMPLETIONS, {"prompt": [ids(number), ids(number + 1)]}),
    "prompt_token_ids": lambda number: chat(prompt_token_ids=ids(number)),
    "images": lambda number: chat(image(number)),
    "tool results": tool_result,
}


class Fleet:
    """Two workers that are chosen among, and in pairs a decode; answers are kept back until `open` is set."""

    def __init__(self, stage: Stage, policy: str, *, pairs: bool) -> None:
        keys = f"policy: {policy}, prefill-policy: {policy}, decode-policy: request_num"
        config = f"scheduler: {{{keys}}}\nmanager: {{health-check-interval-secs: 3600}}"
        self.router: Router = stage.start_router(config, *(["--splitwise"] if pairs else []))
        self.stage = stage
        self.role = "prefill" if pairs else "mixed"
        self.pairs = pairs
        self.open = threading.Event()
        self.workers: list[RawWorker] = []

    def renew(self) -> None:
        """Other workers, without a past."""
        for worker in self.workers:
            assert self.router.unregister(worker.port).status_code == 200
        self.open.clear()
        roles = [self.role] * 2 + ["decode"] * self.pairs
        self.workers = [self.stage.raw_worker(self._answer) for _ in roles]
        for role, worker in zip(roles, self.workers, strict=True):
            assert self.router.register(worker.port, role).status_code == 200

    def counts(self) -> list[int]:
        """Requests but polls, of each worker that is chosen among."""
        return [sum(peer.method == "POST" for peer in worker.hits) for worker in self.workers[:2]]

    def went(self, before: list[int]) -> int:
        """Which of them got the one request since; decode may answer before prefill has read it."""
        wait_for(lambda: self.counts() != before)
        return [now - then for now, then in zip(self.counts(), before, strict=True)].index(1)

    def _answer(self, _: Peer) -> bytes:
        assert self.open.wait(3 * LIMIT)
        return reply(b"{}")


@pytest.fixture(scope="module", params=[False, True], ids=["mixed", "pairs"])
def pairs(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module", params=TESTED)
def policy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def shared(policy: str, pairs: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    stage = Stage(tmp_path_factory.mktemp("fleet"))
    try:
        yield Fleet(stage, policy, pairs=pairs)
    finally:
        stage.close()


@pytest.fixture
def fleet(shared: Fleet) -> Iterator[Fleet]:
    shared.renew()
    yield shared
    shared.open.set()
    shared.router.assert_idle()


@pytest.mark.parametrize("kind", KINDS)
def test_spread_and_matched(fleet: Fleet, policy: str, kind: str) -> None:
    served: list[int] = []
    with ExitStack() as clients:
        for number in range(HELD):
            path, body = KINDS[kind](number)
            before = fleet.counts()
            clients.enter_context(fleet.router.raw()).post(path, json.dumps(body).encode())
            for worker in fleet.workers[2:]:
                worker.wait_hits(number + 1)
            served.append(fleet.went(before))
        assert sorted(fleet.counts()) == [HELD // 2, HELD // 2], served
        fleet.open.set()
        fleet.router.assert_idle()
    if policy not in MATCHING:
        return
    # The last first, so that neither order nor a tie leads to the same places.
    for number in reversed(range(HELD)):
        path, body = KINDS[kind](number)
        before = fleet.counts()
        # To the byte, as one client's library has it.
        assert fleet.router.post(path, content=json.dumps(body)).status_code == 200
        assert fleet.went(before) == served[number]
