"""The demo of several routers: one Valkey, engines that register with one router only, and that router killed."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from rig.cluster import Cluster, elsewhere, state
from rig.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig.engine import Engine
    from rig.router import Router
    from rig.stage import Stage

REST = 20


class Show:
    """Starts and shows; `say` begins a step."""

    def __init__(self, stage: Stage, say: Callable[[str], None], messages: Any) -> None:
        self._stage, self._say, self._messages = stage, say, messages

    def run(
        self, replicas: int, settings: str, flags: list[str], wanted: dict[str, int]
    ) -> tuple[Router, list[Engine]]:
        """All of it; returns a router that is left, and the engines. What it started ends with the stage."""
        self._say(f"starting one Valkey, and {replicas} routers that share through it")
        cluster = Cluster(self._stage, replicas, settings, flags=flags)
        self._stage.at_end(cluster.close)
        first, *others = cluster.routers
        for router in cluster.routers:
            print(f"   {state(router)['replica']} on {router.url}")
        engines = self._engines(first, wanted)
        for router in cluster.routers:
            router.wait_workers(**wanted)
        print(f"   every router serves all of them: {others[-1].get('/registered_number').text}")
        self._prefix(first, "the first router, which learns the prefix")
        served = learned(others[0])
        self._prefix(others[0], f"the second router, which was told of it ({served} records)")
        self._kill(first, others, wanted)
        return others[-1], engines

    def _engines(self, router: Router, wanted: dict[str, int]) -> list[Engine]:
        engines = []
        for role, number in wanted.items():
            self._say(f"starting {number} mock engines ({role}), which register with the first router only")
            engines += self._stage.start_engines(number, router, role=role, token_secs=0.02, register_secs=5)
        return engines

    def _prefix(self, router: Router, who: str) -> None:
        self._say(f"chat by {who}")
        body = {"model": "mock", "messages": self._messages, "max_tokens": 4}
        answer = router.post("/v1/chat/completions", body)
        usage = answer.json()["usage"]
        cached, asked = usage["prompt_tokens_details"]["cached_tokens"], usage["prompt_tokens"]
        print(f"   served by {answer.headers['x-engine']}; {cached} of {asked} prompt tokens were cached")

    def _kill(self, first: Router, others: list[Router], wanted: dict[str, int]) -> None:
        self._say("killing the first router (SIGKILL), the one that the engines registered with")
        first.check_idle, first.ends_with = False, -signal.SIGKILL
        first.process.kill()
        wait_for(lambda: all(len(state(each)["others"]) == len(others) - 1 for each in others))
        for router in others:
            router.wait_workers(**wanted)
        self._prefix(others[-1], "another router, after that")
        asked = [others[number % len(others)].chat(f"and {number}?", max_tokens=1) for number in range(REST)]
        failed = sum(answer.status_code != 200 for answer in asked)
        print(f"   {REST - failed} of {REST} further requests served by the {len(others)} others")
        if failed:
            raise AssertionError(f"{failed} requests failed")


def learned(router: Router) -> int:
    """Records of prefixes that a router has of others, once there are any, and it knows that those are idle."""
    wait_for(lambda: elsewhere(router) == 0)
    return wait_for(
        lambda: int(router.metrics().value("fd_router_cluster_prefixes_total", outcome="applied")),
        why=router.process.tail,
    )
