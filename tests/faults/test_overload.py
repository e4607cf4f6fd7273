"""More than engines can serve: as much is served as ever, the rest is told at once, and then all is as before.

`FAULTS_FULL=1` runs longer.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest

from rig import RawClient, wait_for
from rig.router import chat_body

if TYPE_CHECKING:
    from rig import Engine, RawWorker, Router

StartRouter = Callable[..., "Router"]
StartEngine = Callable[..., "Engine"]

FULL = bool(os.environ.get("FAULTS_FULL"))
SECS = 20.0 if FULL else 3.0
BATCH = 16
TOKENS = 10
TOKEN_SECS = 0.02
"""One engine then serves 80 requests a second, which is far from what the machine can do."""
BACK_SECS = 5.0
MIB = 1 << 20


class Answer(NamedTuple):
    status: int
    began: float
    ended: float
    retry_after: bool


async def ask(port: int) -> Answer:
    """One request on a connection of its own."""
    body = json.dumps(chat_body("x", max_tokens=TOKENS)).encode()
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: r\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(body), body)
        )
        head, _, _ = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    return Answer(int(head.split()[1]), began, time.monotonic(), b"\r\nretry-after: " in head)


async def closed_loop(port: int, clients: int, secs: float) -> list[Answer]:
    """So many clients, each with one request at a time."""
    until = time.monotonic() + secs

    async def client() -> list[Answer]:
        answers = []
        while time.monotonic() < until:
            answers.append(await ask(port))
        return answers

    return [answer for each in await asyncio.gather(*(client() for _ in range(clients))) for answer in each]


async def open_loop(port: int, rate: float, secs: float) -> list[Answer]:
    """So many requests a second, whatever becomes of them."""
    start = time.monotonic()
    asked = []
    for number in range(int(rate * secs)):
        await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
        asked.append(asyncio.ensure_future(ask(port)))
    return await asyncio.gather(*asked)


def served_a_second(answers: list[Answer]) -> float:
    """Between the first and the last 200."""
    ends = sorted(answer.ended for answer in answers if answer.status == 200)
    first, last = ends[BATCH], ends[-1]
    return (len(ends) - BATCH - 1) / (last - first)


@pytest.mark.parametrize("queue", [0.0, 0.5])
def test_goodput_at_three_times_the_capacity(
    start_router: StartRouter, start_engine: StartEngine, queue: float
) -> None:
    router = start_router(
        f"server: {{max-in-flight: {BATCH}, queue-timeout-secs: {queue}}}\nmanager: {{eject-after-failures: 0}}"
    )
    engine = start_engine(token_secs=TOKEN_SECS, max_batch=BATCH)
    assert router.register(engine.port).status_code == 200
    before = asyncio.run(closed_loop(router.port, BATCH, SECS))
    peak = served_a_second(before)
    assert {answer.status for answer in before} == {200}
    answers = asyncio.run(open_loop(router.port, 3 * peak, SECS))
    over = time.monotonic()
    statuses = Counter(answer.status for answer in answers)
    assert statuses.keys() == {200, 503}
    assert statuses[503] > statuses[200], "there was no overload"
    goodput = served_a_second(answers)
    # Shown with -rP.
    print(f"peak {peak:.1f}/s, at 3x {goodput:.1f}/s, {statuses}")
    assert goodput >= 0.9 * peak
    turned_away = [answer for answer in answers if answer.status == 503]
    assert all(answer.retry_after for answer in turned_away)
    slowest = max(answer.ended - answer.began for answer in turned_away)
    assert slowest < queue + 1.0, "who is turned away waits for longer than was said"
    # Told once a second, not once for each.
    assert router.settled_log().count("limit: ") <= (time.monotonic() - over) + SECS + 3
    usual = max(answer.ended - answer.began for answer in before)
    wait_for(lambda: quick(router, usual), limit=BACK_SECS - (time.monotonic() - over), why="it is not back")
    metrics = router.metrics()
    assert metrics.value("fd_router_requests", state="waiting") == 0
    assert metrics.value("fd_router_requests", state="served") == 0
    assert engine.stats()["requests"] <= 1.2 * (len(before) + statuses[200] + 10)


def quick(router: Router, usual: float) -> bool:
    answer = asyncio.run(ask(router.port))
    return answer.status == 200 and answer.ended - answer.began <= usual


def test_who_waits_is_served_in_order(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router("server: {max-in-flight: 1, queue-timeout-secs: 20}")
    engine = start_engine(token_secs=0.02)
    assert router.register(engine.port).status_code == 200
    with ThreadPoolExecutor(6) as clients:
        first = clients.submit(router.chat, "first", max_tokens=50)
        engine.wait_stats(running=1)
        waiting = []
        for number in range(5):
            waiting.append(clients.submit(router.chat, f"number {number}", max_tokens=1))
            wait_for(partial(waits, router, number + 1), why="it does not wait")
        assert engine.stats()["running"] == 1
        assert {future.result().status_code for future in (first, *waiting)} == {200}
    prompts = [json.loads(seen.body)["messages"][0]["content"] for seen in engine.seen()]
    assert prompts == ["first", *(f"number {number}" for number in range(5))]


def waits(router: Router, number: int) -> bool:
    return router.metrics().value("fd_router_requests", state="waiting") == number


def test_bodies_are_bounded_in_bytes(start_router: StartRouter, raw_worker: Callable[..., RawWorker]) -> None:
    """Whole ones of running requests, and parts of those that are still coming."""
    router = start_router("server: {max-body-memory-mb: 4, max-body-mb: 8}")
    worker = raw_worker(lambda peer: peer.wait_closed() and None)
    assert router.register(worker.port).status_code == 200
    part = b'{"prompt":"' + b"x" * (3 * MIB)
    with router.raw() as slow, router.raw() as running:
        head = b"POST /v1/completions HTTP/1.1\r\nhost: r\r\ncontent-length: %d\r\n\r\n"
        slow.send(head % (4 * MIB) + part)
        wait_for(lambda: held(router) > 2.5 * MIB, why="the router holds no body")
        running.post("/v1/completions", small())
        worker.wait_hits(1)
        refused(router, part)
        assert held(router) <= 4 * MIB
    router.assert_idle()
    wait_for(lambda: held(router) == 0, why="bytes are left over")
    with router.raw() as big:
        big.post("/v1/completions", b'{"prompt":"' + b"x" * (6 * MIB) + b'"}')
        worker.wait_hits(2)


def small() -> bytes:
    return b'{"prompt":"' + b"x" * (MIB // 2) + b'"}'


def held(router: Router) -> float:
    return router.metrics().value("fd_router_body_bytes")


def refused(router: Router, part: bytes) -> None:
    with RawClient("127.0.0.1", router.port) as client:
        client.send(
            b"POST /v1/completions HTTP/1.1\r\nhost: r\r\ncontent-length: %d\r\n\r\n" % (4 * MIB) + part
        )
        head = client.read_until(b"}")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: " in head
        assert b"server.max-body-memory-mb" in head
