"""SIGHUP in the middle of traffic: the configuration is another one, and nothing else is."""

from __future__ import annotations

import re
import signal
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rig import RawClient, wait_for
from rig.crowd import Crowd, statuses
from rig.memory import worker_pid
from rig.table import FULL

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Engine, Router

STREAMS = 200
TOKENS = 400 if FULL else 120
"""At 20 a second: the streams outlast all signals."""
SIGNALS = 5
PROMPT = "the same long prompt before and after " * 20
GATHERED = "{policy: cache_aware, balance-abs-threshold: 1000, hit-ratio-weight: 1000}"


def hits(router: Router) -> float:
    """The sum of the predicted hit ratios so far: 1 more for each prompt that was there in whole."""
    return router.metrics().value("fd_router_hit_ratio_sum")


def test_hangup_under_live_streams(
    start_router: Callable[..., Router], start_engine: Callable[..., Engine]
) -> None:
    """Row 35: no error, the same process, counters and prefix tree kept."""
    router = start_router(f"scheduler: {GATHERED}")
    for _ in range(2):
        start_engine(router, token_secs=0.05, max_batch=2 * STREAMS)
    router.wait_workers(mixed=2)
    for _ in range(2):
        assert router.chat(PROMPT, max_tokens=1).status_code == 200
    assert hits(router) > 0.9, "it is known before"
    pid = worker_pid(router)
    body = f'{{"prompt": "count", "stream": true, "max_tokens": {TOKENS}}}'.encode()
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient("127.0.0.1", router.port)) for _ in range(STREAMS)]
        for client in clients:
            client.post("/v1/completions", body, "connection: close")
        for client in clients:
            client.read_until(b"data: ")
        before = router.metrics()
        assert sum(router.running().values()) == STREAMS
        with Crowd(router, 2, max_tokens=1) as crowd:
            for number in range(SIGNALS):
                router.configure(f"scheduler: {GATHERED[:-1]}, copy-cost: {number + 1}}}")
                router.process.send(signal.SIGHUP)
                # The proof that it came through is the line, one for each.
                wait_for(lambda number=number: taken_over(router) == number + 1)  # type: ignore[misc]
                crowd.wait(2)
        assert sum(router.running().values()) == STREAMS, "all of them are live, and counted, after the last"
        known = hits(router)
        assert router.chat(PROMPT, max_tokens=1).status_code == 200
        assert hits(router) - known > 0.9, "it is known after"
        router.metrics().assert_follows(before)
        for reader in [threading.Thread(target=client.read_to_end) for client in clients]:
            reader.start()
            stack.callback(reader.join)
    assert [client.received[-200:] for client in clients if not whole(client.received)] == []
    assert statuses(crowd.got).keys() == {200}
    assert worker_pid(router) == pid
    assert "[ERROR]" not in router.settled_log()


def taken_over(router: Router) -> int:
    return len(
        re.findall(
            r"\] reload: the configuration was read again, changed: scheduler\.copy-cost", router.log_text()
        )
    )


def whole(answer: bytes) -> bool:
    return answer.count(b'"text":"') >= TOKENS and answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
