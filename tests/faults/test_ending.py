"""The end of the router: announced, in order, and at its limit honest to clients."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from rig import wait_for
from rig.memory import worker_pid
from rig.router import listens
from rig.sse import Events

if TYPE_CHECKING:
    from rig import Engine, RawClient, Router

StartRouter = Callable[..., "Router"]
StartEngine = Callable[..., "Engine"]

COMPLETIONS = "/v1/completions"
ENDLESS = b'{"prompt":"x","stream":true,"max_tokens":100000}'
WHOLE = b'{"prompt":"x","max_tokens":100000}'
GRACE = 1.0
"""Seconds above a limit, or after a second signal, by which all is over."""
CUT = {"error": {"message": "router is shutting down", "type": "router_error", "code": "closed"}}


def ask(router: Router, stack: ExitStack, body: bytes, number: int) -> list[RawClient]:
    clients = [stack.enter_context(router.raw()) for _ in range(number)]
    for client in clients:
        client.post(COMPLETIONS, body)
    if body == ENDLESS:
        for client in clients:
            client.read_until(b"data: ")
    return clients


def body_of(client: RawClient) -> bytes:
    """The body of what was sent in chunks, which is whole."""
    head, _, rest = client.read_to_end().partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower()
    assert rest.endswith(b"0\r\n\r\n"), f"cut: {rest[-200:]!r}"
    return b"".join(re.findall(rb"[0-9A-Fa-f]+\r\n(.*?\n)\r\n", rest, re.DOTALL))


def ended_honestly(router: Router, streams: list[RawClient], whole: list[RawClient]) -> None:
    """Every client was told, and its access line is there."""
    for client in streams:
        assert json.loads(Events.parse(body_of(client)).data[-1]) == CUT
    for client in whole:
        head, _, rest = client.read_to_end().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: " in head
        assert json.loads(rest)["error"] == CUT["error"]["message"]
    lines = [line for line in router.messages() if line.startswith(f"[POST] {COMPLETIONS} ")]
    assert len([line for line in lines if " HTTP/1.1 200 " in line]) == len(streams)
    assert len([line for line in lines if " HTTP/1.1 503 " in line]) == len(whole)


@pytest.mark.parametrize("limit", [0, 1])
def test_at_the_limit_streams_end_with_an_error_event(
    start_router: StartRouter, start_engine: StartEngine, limit: int
) -> None:
    router = start_router(f"server: {{drain-timeout-secs: {limit}}}")
    engine = start_engine(token_secs=0.02)
    assert router.register(engine.port).status_code == 200
    with ExitStack() as stack:
        streams = ask(router, stack, ENDLESS, 20)
        whole = ask(router, stack, WHOLE, 3)
        engine.wait_stats(running=23)
        noise = router.round_trip()
        sent = time.monotonic()
        router.process.send(signal.SIGTERM)
        assert router.process.wait() == 0
        took = time.monotonic() - sent
        ended_honestly(router, streams, whole)
    assert limit <= took < limit + GRACE + noise
    assert not listens(router.port)
    engine.wait_stats(aborted=23)


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_second_signal_ends_at_once(
    start_router: StartRouter, start_engine: StartEngine, again: signal.Signals
) -> None:
    router = start_router("server: {drain-timeout-secs: 60}")
    engine = start_engine(token_secs=0.02)
    assert router.register(engine.port).status_code == 200
    with ExitStack() as stack:
        streams = ask(router, stack, ENDLESS, 5)
        whole = ask(router, stack, WHOLE, 1)
        engine.wait_stats(running=6)
        router.process.send(signal.SIGTERM)
        wait_for(lambda: not listens(router.port), why="it still listens")
        assert engine.stats()["running"] == 6, "nothing was left to be ended"
        sent = time.monotonic()
        router.process.send(again)
        assert router.process.wait() == 0
        assert time.monotonic() - sent < GRACE + 0.2
        ended_honestly(router, streams, whole)


def test_quit_ends_at_once(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router("server: {drain-timeout-secs: 60}")
    engine = start_engine(token_secs=0.02)
    assert router.register(engine.port).status_code == 200
    with ExitStack() as stack:
        streams = ask(router, stack, ENDLESS, 2)
        engine.wait_stats(running=2)
        sent = time.monotonic()
        router.process.send(signal.SIGQUIT)
        assert router.process.wait() == 0
        assert time.monotonic() - sent < GRACE + 0.2
        ended_honestly(router, streams, [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_is_one_signal(
    start_router: StartRouter, start_engine: StartEngine, number: signal.Signals
) -> None:
    """As Ctrl-C sends it, and systemd: the worker has it from there and from the supervisor."""
    router = start_router("server: {drain-timeout-secs: 60}")
    engine = start_engine(token_secs=0.02)
    assert router.register(engine.port).status_code == 200
    with ExitStack() as stack:
        clients = ask(router, stack, b'{"prompt":"x","stream":true,"max_tokens":50}', 5)
        engine.wait_stats(running=5)
        router.process.send_all(number)
        for client in clients:
            assert Events.parse(body_of(client)).finished
        assert router.process.wait() == 0
    assert "process: worker process" not in router.log_text()


def test_clients_that_take_nothing_do_not_prolong_the_end(
    start_router: StartRouter, start_engine: StartEngine
) -> None:
    router = start_router("server: {drain-timeout-secs: 0}")
    engine = start_engine(token_secs=0)
    assert router.register(engine.port).status_code == 200
    with ExitStack() as stack:
        ask(router, stack, ENDLESS, 2)
        engine.wait_stats(running=2)
        sent = time.monotonic()
        router.process.send(signal.SIGTERM)
        assert router.process.wait() == 0
        assert time.monotonic() - sent < GRACE + 0.2


def test_not_ready_before_it_stops_listening(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = start_router("server: {drain-delay-secs: 1.5, drain-timeout-secs: 60}")
    engine = start_engine(token_secs=0.02)
    assert router.register(engine.port).status_code == 200
    assert router.get("/ready").status_code == 200
    assert "connection" not in router.get("/ready").headers
    with router.raw() as client:
        client.post(COMPLETIONS, b'{"prompt":"x","stream":true,"max_tokens":150}')
        client.read_until(b"data: ")
        sent = time.monotonic()
        router.process.send(signal.SIGTERM)
        wait_for(lambda: router.get("/ready").status_code == 503, limit=1)
        # Whoever has not noticed yet is served as ever, on connections that he must not keep.
        for _ in range(3):
            ready = router.get("/ready")
            assert (ready.json()["reason"], ready.headers["connection"]) == ("draining", "close")
            served = router.chat("x", max_tokens=1)
            assert (served.status_code, served.headers["connection"]) == (200, "close")
            streamed = router.chat("x", stream=True, max_tokens=1)
            assert Events.parse(streamed.content).finished
            assert streamed.headers["connection"] == "close"
        assert time.monotonic() - sent < 1.5, "the machine is too slow for this test"
        wait_for(lambda: not listens(router.port), why="it still listens")
        assert time.monotonic() - sent >= 1.5
        assert engine.stats()["running"] == 1, "the stream was over before the port was closed"
        assert Events.parse(body_of(client)).finished
    assert router.process.wait() == 0


def test_a_worker_process_that_hangs_is_killed(start_router: StartRouter) -> None:
    router = start_router("server: {drain-timeout-secs: 0}")
    router.ends_with = 1
    os.kill(worker_pid(router), signal.SIGSTOP)
    sent = time.monotonic()
    router.process.send(signal.SIGTERM)
    assert router.process.wait() == 1
    assert time.monotonic() - sent < 5
    router.wait_log(r"\[ERROR\] .*process: worker process \d+ did not end in time and was killed")
