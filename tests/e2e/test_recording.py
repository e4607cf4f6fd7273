"""`log.record`: what a router decided is recorded without what was asked, and plays again as it went."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from fd_router._core import replay
from rig.router import chat_body, free_port
from rig.wait import LIMIT, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rig import Engine, Router
    from rig.stage import Stage

CHAT = "/v1/chat/completions"
REQUESTS = 300
AT_A_TIME = 24
SECRET = "xylophone"
BLOCK_SECS = 0.0005


def config(path: Path, policy: str, **log: object) -> str:
    scheduler = {"policy": policy, "prefill-policy": policy, "decode-policy": policy, "cache-block-size": 16}
    upstream = {"attempts": 3}
    return json.dumps({"log": {"record": str(path), **log}, "scheduler": scheduler, "upstream": upstream})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def requests_of(path: Path) -> list[dict[str, Any]]:
    return [line for line in lines(path) if line["event"] == "request"]


def body(number: int, *, stream: bool, leaves: bool = False) -> dict[str, Any]:
    """One of a few long beginnings, then an end of its own."""
    rng = random.Random(number)
    text = f"{SECRET} {rng.randrange(12)} " * 40 + str(number)
    options = {"stream_options": {"include_usage": True}} if stream else {}
    return chat_body(
        text,
        max_tokens=200 if leaves else rng.randrange(1, 12),
        stream=stream,
        session_id=f"session-{number % 20}",
        **options,
    )


async def crowd(router: Router, change: Callable[[int], None]) -> Counter[int]:
    """Requests side by side, a tenth of which leave early; `change` is called with the number of each. Statuses."""
    gate = asyncio.Semaphore(AT_A_TIME)
    statuses: Counter[int] = Counter()

    async def ask(client: httpx.AsyncClient, number: int) -> None:
        async with gate:
            await asyncio.to_thread(change, number)
            leaves = number % 10 == 0
            stream = leaves or number % 4 > 0
            async with client.stream("POST", CHAT, json=body(number, stream=stream, leaves=leaves)) as answer:
                statuses[answer.status_code] += 1
                async for _ in answer.aiter_bytes():
                    if leaves:
                        return  # and closes the connection

    limits = httpx.Limits(max_connections=AT_A_TIME)
    async with httpx.AsyncClient(
        base_url=router.url, timeout=LIMIT, limits=limits, trust_env=False
    ) as client:
        await asyncio.gather(*(ask(client, number) for number in range(REQUESTS)))
    return statuses


def run(stage: Stage, path: Path, policy: str) -> list[Engine]:
    """A crowd at a router whose fleet changes; ends the router."""
    router = stage.start_router(config(path, policy))
    engines = stage.start_engines(4, block_secs=BLOCK_SECS, token_secs=0.002, block_size=16, cache_blocks=400)
    for engine in engines[:3]:
        assert router.register(engine.port).status_code == 200

    def change(number: int) -> None:
        if number == 60:
            assert router.register(engines[3].port).status_code == 200
        elif number == 100:
            engines[1].fault(status=500, times=15)
        elif number == 150:
            engines[2].fault(cut="before-head", times=10)
        elif number == 200:
            assert router.unregister(engines[0].port).status_code == 200

    statuses = asyncio.run(crowd(router, change))
    assert statuses[200] > REQUESTS * 0.8, statuses
    router.assert_idle()
    assert router.stop() == 0
    return engines


@pytest.mark.parametrize(
    "policy", ["least_work", "cache_aware", "round_robin", "request_num", "power_of_two"]
)
def test_a_recording_plays_again_as_it_went(stage: Stage, tmp_path: Path, policy: str) -> None:
    path = tmp_path / "decisions.jsonl"
    engines = run(stage, path, policy)
    again = replay(str(path))
    assert again.differences == []
    assert (again.missing, again.same, again.same_predictions) == (0, again.decisions, again.decisions)

    # It did happen: retries, an engine that came, one that went, failures, clients that left.
    found = requests_of(path)
    assert again.decisions == len(found) > REQUESTS
    assert {line["worker"] for line in found} == {engine.url for engine in engines}
    outcomes = Counter(line["outcome"] for line in found)
    assert {"completed", "broken", "unanswered"} <= set(outcomes), outcomes
    assert any(line.get("exclude") for line in found)
    events = Counter(line["event"] for line in lines(path))
    assert events["joined"] >= 4, events
    assert events["left"] >= 1, events
    assert len({line["request"] for line in found}) == REQUESTS
    assert len({line["session"] for line in found}) == 20

    text = path.read_text()
    for secret in (SECRET, "session-1", '"mock"'):
        assert secret not in text
    assert path.stat().st_mode & 0o077 == 0

    # And it would tell if it were not so.
    other = replay(str(path), policies=[("mixed", "random")])
    assert other.same < other.decisions
    assert other.differences


def test_a_pair_is_two_decisions_of_one_request(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]], tmp_path: Path
) -> None:
    path = tmp_path / "decisions.jsonl"
    router = start_router(config(path, "least_work"), "--splitwise")
    for role in ("prefill", "decode"):
        start_engines(2, router, role=role, block_secs=BLOCK_SECS, token_secs=0.001, block_size=16)
    router.wait_workers(prefill=2, decode=2)
    for number in range(40):
        assert router.post(CHAT, body(number, stream=number % 2 == 0)).status_code == 200
    router.assert_idle()
    assert router.stop() == 0
    again = replay(str(path))
    assert (again.differences, again.missing, again.decisions) == ([], 0, 80)
    assert again.same_predictions == 80
    roles = Counter((line["request"], line["role"]) for line in requests_of(path))
    assert roles == {(number, role): 1 for number in range(40) for role in ("prefill", "decode")}
    lengths = {
        line["request"]: line["output_length"] for line in requests_of(path) if line["role"] == "decode"
    }
    assert lengths == {number: body(number, stream=False)["max_tokens"] for number in range(40)}
    # A stream's prefill worker is given back before it has said what it had cached.
    assert {"answered"} <= {line["event"] for line in lines(path)}


def test_a_fleet_with_specialists_plays_again_as_it_went(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]], tmp_path: Path
) -> None:
    """They are chosen for an endpoint, beside pairs for which some of them are chosen as well."""
    path = tmp_path / "decisions.jsonl"
    embed, tokenize, rerank = "/v1/embeddings", "/tokenize", "/v1/rerank"
    router = start_router(config(path, "least_work"), "--splitwise")
    more = {"block_secs": BLOCK_SECS, "token_secs": 0.001, "block_size": 16}
    start_engines(1, router, role="prefill", **more)
    both = start_engines(2, router, role="decode", endpoints=f"{embed},{tokenize}", **more)
    (alone,) = start_engines(1, router, role="mixed", endpoints=embed, **more)
    router.wait_workers(prefill=1, decode=2, mixed=1)

    def ask(number: int) -> int:
        if number == 40:
            alone.fault(status=503, times=2)
        asked = {"model": "mock", "input": f"{SECRET} {number}", "prompt": SECRET}
        match number % 4:
            case 0 | 1:
                return router.post(embed, asked).status_code
            case 2:
                return router.post(tokenize, asked).status_code
        return router.post(CHAT, body(number, stream=number % 8 == 3)).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = Counter(pool.map(ask, range(80)))
    assert statuses == {200: 80}
    assert router.post(rerank, {"query": SECRET}).status_code == 501
    router.assert_idle()
    assert router.stop() == 0

    again = replay(str(path))
    assert (again.differences, again.missing) == ([], 0)
    found = [line for line in requests_of(path) if "endpoint" in line]
    assert again.decisions == len(requests_of(path)) == len(found) + 2 * 20
    served = {(line["endpoint"], line["worker"]) for line in found}
    assert served <= {(rerank, None)} | {
        *((path, engine.url) for path in (embed, tokenize) for engine in both),
        (embed, alone.url),
    }
    assert {endpoint for endpoint, _ in served} == {embed, tokenize, rerank}
    assert {alone.url, *(engine.url for engine in both)} == {worker for _, worker in served if worker}
    assert {(line["role"], line["policy"]) for line in found} == {("mixed", "request_num")}
    assert any(line.get("exclude") for line in found)
    told = {line["worker"]: line["endpoints"] for line in lines(path) if line["event"] == "endpoints"}
    assert told[alone.url] == [embed]
    assert all(told[engine.url] == [embed, tokenize] for engine in both)
    assert SECRET not in path.read_text()


def test_a_line_is_one_of_mooncake_s_traces(
    start_router: Callable[..., Router], start_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    path = tmp_path / "decisions.jsonl"
    router = start_router(config(path, "round_robin"))
    start_engine(router, block_size=16)
    router.wait_workers(mixed=1)
    for number in (1, 1, 2):
        assert router.post(CHAT, body(number, stream=False)).status_code == 200
    wait_for(lambda: len(requests_of(path)) == 3, why=path.read_text)
    one, two, three = requests_of(path)
    # Also of a policy that looks at no prefix.
    assert one["hash_ids"] == two["hash_ids"] != three["hash_ids"]
    assert len(one["hash_ids"]) > 20
    assert all(isinstance(each, int) and 0 <= each < 2**53 for each in one["hash_ids"])
    assert one["input_length"] == one["prompt_tokens"] > 100
    assert one["timestamp"] <= two["timestamp"] <= two["end"] <= three["timestamp"]
    assert two["cached_tokens"] > 0
    assert one["output_length"] == body(1, stream=False)["max_tokens"]
    wait_for(lambda: router.metrics().value("fd_router_recording_lines_total") >= 3)
    assert router.metrics().value("fd_router_recording_lines_lost_total") == 0


def test_the_files_are_bounded(
    start_router: Callable[..., Router], start_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    path = tmp_path / "decisions.jsonl"
    router = start_router(config(path, "least_work", **{"record-max-mb": 1, "record-files": 2}))
    engine = start_engine(router, block_secs=0, token_secs=0)
    router.wait_workers(mixed=1)
    # About 100 kB a line.
    for number in range(40):
        assert router.chat(
            f"{number} " + "".join(random.Random(number).choices("abc", k=100_000)), max_tokens=1
        )
    router.assert_idle()
    assert router.stop() == 0
    assert sorted(file.name for file in tmp_path.glob("decisions*")) == [
        "decisions.jsonl",
        "decisions.jsonl.1",
    ]
    assert (tmp_path / "decisions.jsonl.1").stat().st_size <= 1 << 20
    again = replay(str(path))
    assert again.missing > 0, "what was deleted is told of"
    assert {url for url, _, _ in again.workers} <= {engine.url}


def test_nothing_is_recorded_unless_it_is_wanted(start_router: Callable[..., Router], tmp_path: Path) -> None:
    router = start_router("")
    assert router.metrics().value("fd_router_recording_lines_total") == 0
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_path_that_cannot_be_written_stops_the_start(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "none" / "decisions.jsonl"
    file = tmp_path / "config.yaml"
    file.write_text(config(path, "least_work"))
    ended = stage.run_router("--config_path", str(file), "--port", str(free_port()))
    assert ended.returncode != 0
    assert f"Failed to start server: log.record: cannot write {path}: " in ended.stderr, ended.stderr


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    with pytest.raises(ValueError, match=r"cannot read .*decisions\.jsonl: No such file"):
        replay(str(path))
    path.write_text("nonsense\n")
    with pytest.raises(ValueError, match=r"decisions\.jsonl:1: expected"):
        replay(str(path))
