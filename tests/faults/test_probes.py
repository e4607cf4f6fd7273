"""What probes do not do: follow a redirection, or take a worker out whose streams move."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from rig import reply, wait_for
from rig.router import chat_body
from rig.sse import Events
from rig.table import FULL

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Engine, RawWorker, Router

CONFIG = """
manager: {health-check-interval-secs: 0.2, health-check-timeout-secs: 0.3, health-check-endpoint: /well}
"""


@pytest.mark.parametrize("status", [301, 302, 307, 308] if FULL else [307])
def test_a_redirection_is_not_followed(
    start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker], status: int
) -> None:
    router = start_router(CONFIG)
    target = raw_worker(lambda _: reply(b""))
    well = [True]
    location = f"location: {target.url}/secret"
    worker = raw_worker(lambda _: reply(b"") if well[0] else reply(b"", status, location))
    assert router.register(worker.port).status_code == 200
    well[0] = False
    router.wait_workers(mixed=0)
    redirected = len(worker.hits)
    wait_for(lambda: len(worker.hits) >= redirected + 3, why="it is not probed any more")
    refused = router.register(worker.port)
    assert refused.status_code == 503
    assert "not healthy" in refused.json()["msg"]
    assert (target.connections, target.hits) == (0, [])
    # What is not followed is the redirection: the url itself is looked at again.
    well[0] = True
    router.wait_workers(mixed=1)
    assert target.connections == 0


def test_a_busy_worker_stays_while_its_streams_move(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]]
) -> None:
    router = start_router("manager: {health-check-interval-secs: 0.2, health-check-timeout-secs: 0.3}")
    busy, idle = engines = start_engines(2, router, register_secs=3600, token_secs=0.05)
    router.wait_workers(mixed=2)
    with ExitStack() as stack:
        streams = [
            stack.enter_context(
                router.stream("/v1/chat/completions", chat_body(f"{number}", stream=True, max_tokens=60))
            )
            for number in range(2)
        ]
        assert {stream.headers["x-engine"] for stream in streams} == {busy.name, idle.name}
        moving = next(stream for stream in streams if stream.headers["x-engine"] == busy.name)
        other = next(stream for stream in streams if stream is not moving)
        other.close()
        idle.wait_stats(running=0)
        for engine in engines:
            engine.fault(health_hang=True)
        probed = busy.stats()["probes"]
        # Both miss their probes, and only one has something to show for it.
        router.wait_workers(mixed=1)
        assert [each["url"] for each in router.registered()["mixed"]] == [busy.url]
        wait_for(lambda: busy.stats()["probes"] >= probed + 4)
        assert busy.stats()["running"] == 1, "the stream ended too soon to prove anything"
        assert router.numbers()["mixed"] == 1
        assert Events.parse(moving.read()).finished
    router.wait_workers(mixed=0)
    for engine in engines:
        engine.heal()
    router.wait_workers(mixed=2)
