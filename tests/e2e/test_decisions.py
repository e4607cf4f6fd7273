"""`/decisions` tells why each request went where it went, what became of it, and what was at fault for a cold cache."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest

from rig.pairs import PairFleet
from rig.router import chat_body, config_text, free_port
from rig.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Engine, Router, Stage

CHAT = "/v1/chat/completions"
FAST = {"block_secs": 0, "token_secs": 0}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def prompt(number: int) -> str:
    """Four thousand letters, of which a token of the mock engine has one."""
    return "".join(random.Random(number).choices("abcdefgh ", k=4000))


def ask(router: Router, text: str, request_id: str, **fields: Any) -> int:
    body = chat_body(text, max_tokens=2, request_id=request_id, **fields)
    return router.post(CHAT, body).status_code


def past_the_router(engine: Engine, path: str, body: object = None) -> int:
    return httpx.post(engine.url + path, json=body, trust_env=False).status_code


def told(router: Router, request_id: str) -> list[dict[str, Any]]:
    """What is kept about a request that is over."""

    def over() -> list[dict[str, Any]]:
        answer = router.get(f"/decisions/{request_id}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["request_id"] == request_id
        decisions: list[dict[str, Any]] = answer.json()["decisions"]
        return [] if any(each["outcome"] == "running" for each in decisions) else decisions

    return wait_for(over)


def one(router: Router, request_id: str) -> dict[str, Any]:
    (decision,) = told(router, request_id)
    return decision


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_decision_tells_its_terms_and_its_end(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]], stream: bool
) -> None:
    router = start_router("scheduler: {policy: least_work}")
    engines = start_engines(3, router, block_size=64, **FAST)
    router.wait_workers(mixed=3)
    before = time.time()
    assert ask(router, prompt(1), "first", **(STREAM if stream else {})) == 200
    decision = one(router, "first")
    urls = {engine.url for engine in engines}
    assert before - 1 < decision["at"] < time.time() + 1
    assert decision["worker"] in urls
    assert next(each["url"] for each in decision["best"]) == decision["worker"]
    assert {each["url"] for each in decision["best"]} == urls
    costs = [each["cost"] for each in decision["best"]]
    assert costs == sorted(costs)
    assert decision["ties"] == 2
    assert decision["margin"] == 0
    wanted = {
        "request_id": "first",
        "path": CHAT,
        "stream": stream,
        "attempt": 1,
        "role": "mixed",
        "policy": "least_work",
        "decided_by": "least_work",
        "fallback": None,
        "candidates": 3,
        "excluded": [],
        "best_hit": None,
        "lost": None,
        "outcome": "completed",
        "status": 200,
        "predicted_hit": 0,
        "true_hit": 0,
        "fault": "workload",
    }
    assert {key: decision[key] for key in wanted} == wanted
    assert "new to the fleet" in decision["why"]
    assert decision["blocks"] > 50
    assert 0 <= decision["first_byte_secs"] <= decision["duration_secs"] < 60
    for each in decision["best"]:
        assert each["running"] == 0
        assert each["pending"] == 0
        assert each["hit"] == 0
        assert each["uncached"] > 500


def test_what_is_there_is_nobodys_fault(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]]
) -> None:
    router = start_router("scheduler: {policy: least_work}")
    start_engines(2, router, block_size=64, **FAST)
    router.wait_workers(mixed=2)
    for request_id in ("cold", "warm"):
        assert ask(router, prompt(1), request_id) == 200
    cold, warm = one(router, "cold"), one(router, "warm")
    assert (cold["fault"], warm["fault"]) == ("workload", "none")
    assert warm["worker"] == cold["worker"] == warm["best_hit"]["url"]
    assert warm["predicted_hit"] > 0.9
    assert warm["true_hit"] > 0.9
    assert warm["margin"] > 0
    assert warm["ties"] == 0


def test_a_cold_cache_for_its_load_is_a_fault_of_routing(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]]
) -> None:
    router = start_router("scheduler: {policy: cache_aware, hit-ratio-weight: 0}")
    engines = start_engines(2, router, block_size=64, **FAST)
    router.wait_workers(mixed=2)
    assert ask(router, prompt(1), "cold") == 200
    holder = next(engine for engine in engines if engine.url == one(router, "cold")["worker"])
    holder.fault(cut="mid-stream", cut_how="stall", cut_chunks=1)
    with router.stream(CHAT, chat_body("something else", stream=True, max_tokens=9)):
        wait_for(lambda: router.running().get(holder.url) == 1)
        assert ask(router, prompt(1), "passed-over") == 200
    decision = one(router, "passed-over")
    assert decision["worker"] != holder.url
    assert decision["best_hit"]["url"] == holder.url
    assert decision["best_hit"]["hit"] > 0.9
    assert decision["fault"] == "routing", decision
    assert decision["why"].endswith("it was passed over for its load of 1 requests running against 0.")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_cache_that_was_emptied_is_a_fault_of_the_index(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]], stream: bool
) -> None:
    router = start_router("scheduler: {policy: least_work}")
    (engine,) = start_engines(1, router, block_size=64, **FAST)
    router.wait_workers(mixed=1)
    fields = STREAM if stream else {}
    assert ask(router, prompt(1), "cold", **fields) == 200
    for call in ("/v1/sleep", "/v1/wakeup"):
        assert past_the_router(engine, call) == 200
    assert ask(router, prompt(1), "gone", **fields) == 200
    assert past_the_router(engine, CHAT, chat_body(prompt(2), max_tokens=2)) == 200
    assert ask(router, prompt(2), "unforeseen", **fields) == 200
    gone, unforeseen = one(router, "gone"), one(router, "unforeseen")
    assert gone["fault"] == "index"
    assert gone["why"].endswith("what it held is gone.")
    assert gone["predicted_hit"] > 0.9
    assert gone["true_hit"] == 0
    assert unforeseen["fault"] == "index"
    assert unforeseen["why"].endswith("the index did not know of it.")
    assert unforeseen["predicted_hit"] < 0.1
    assert unforeseen["true_hit"] > 0.9


def test_attempts_tell_why_they_were_lost(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]]
) -> None:
    router = start_router("scheduler: {policy: request_num}\nupstream: {attempts: 2}")
    engines = start_engines(2, router, **FAST)
    router.wait_workers(mixed=2)
    engines = sorted(engines, key=lambda engine: engine.url)
    engines[0].fault(status=503)
    assert ask(router, "hello", "again") == 200
    lost, served = told(router, "again")
    assert lost["worker"] == engines[0].url
    assert served["worker"] == engines[1].url
    assert (lost["attempt"], served["attempt"]) == (1, 2)
    assert lost["lost"] == f"mixed worker {engines[0].url}: status 503"
    assert lost["status"] == 503
    assert lost["outcome"] == "unanswered"
    assert lost["fault"] == "unknown"
    assert served["lost"] is None
    assert served["excluded"] == [engines[0].url]
    assert served["candidates"] == 1
    engines[1].fault(status=503)
    assert ask(router, "hello", "refused") == 503
    refused = one(router, "refused")
    assert (refused["status"], refused["lost"], refused["error"]) == (503, None, None)
    for engine in engines:
        engine.kill()
    assert ask(router, "hello", "failed") == 502
    *before, last = told(router, "failed")
    assert all(each["lost"] == each["error"] for each in before)
    assert last["lost"] is None
    assert last["error"].startswith(f"mixed worker {last['worker']}: ")


def test_a_request_for_nobody_is_told_of(start_router: Callable[..., Router]) -> None:
    router = start_router("scheduler: {policy: random}")
    assert ask(router, "hello", "nobody") == 502
    decision = one(router, "nobody")
    assert (decision["outcome"], decision["worker"], decision["candidates"]) == ("no_worker", None, 0)
    assert decision["best"] == []
    assert decision["duration_secs"] is None


@pytest.mark.parametrize("sent", ["a/b?c#d%2f", "中 文\n", "x" * 300, "/", "\\u4e2d"])
def test_a_request_is_found_by_what_its_client_wrote(start_router: Callable[..., Router], sent: str) -> None:
    router = start_router()
    answer = router.post(CHAT, chat_body("hello", request_id=sent))
    assert answer.status_code == 502
    known = answer.headers["x-request-id"]
    for name in (known, sent):
        found = router.get(f"/decisions/{quote(name, safe='')}")
        assert (found.status_code, found.json()["request_id"]) == (200, known)
        assert [each["request_id"] for each in found.json()["decisions"]] == [known]


def test_both_legs_of_a_pair_are_told_of(stage: Stage) -> None:
    pairs = PairFleet(stage)
    assert pairs.ask(stream=True, request_id="pair").result().status_code == 200
    legs = told(pairs.router, "pair")
    pairs.close()
    assert [leg["role"] for leg in legs] == ["prefill", "decode"]
    for leg in legs:
        assert leg["worker"] in {engine.url for engine in pairs.engines[leg["role"]]}
        assert (leg["attempt"], leg["outcome"], leg["status"]) == (1, "completed", 200)
        assert leg["first_byte_secs"] is not None


def test_the_newest_come_first_and_bad_numbers_are_refused(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]]
) -> None:
    router = start_router("")
    start_engines(1, router, **FAST)
    router.wait_workers(mixed=1)
    for number in range(25):
        assert ask(router, "hello", f"r{number}") == 200
    newest = router.get("/decisions").json()["decisions"]
    assert [each["request_id"] for each in newest] == [f"r{number}" for number in range(24, 4, -1)]
    assert len(router.get("/decisions?last=1000").json()["decisions"]) == 25
    assert [each["request_id"] for each in router.get("/decisions?last=1").json()["decisions"]] == ["r24"]
    for bad in ("last=0", "last=1001", "last=-1", "last=x", "last=", "last=%C2%B2", "last=1&last=0"):
        answer = router.get(f"/decisions?{bad}")
        assert answer.status_code == 400
        assert answer.json()["error"].endswith("accepted: a whole number from 1 to 1000"), answer.text
    assert router.get("/decisions?lats=3").json() == {"error": "lats: no such parameter, accepted: last"}
    unknown = router.get("/decisions/nobody%20knows")
    assert unknown.status_code == 404
    assert unknown.json() == {"error": "no decision is kept about a request nobody knows"}


def test_decisions_are_for_operators(start_router: Callable[..., Router]) -> None:
    port = free_port()
    router = start_router(
        config_text("server: {admin-key: secret}", port),
        exact=True,
        port=port,
        headers={"authorization": "Bearer secret"},
    )
    assert router.get("/decisions").json() == {"decisions": []}
    for path in ("/decisions", "/decisions/x"):
        assert router.get(path, headers={"authorization": ""}).status_code == 401
