"""What clients do to the data port leaves the control port alone."""

from __future__ import annotations

import statistics
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest

from fd_router.process.descriptors import SPARE
from rig.client import RawClient
from rig.router import chat_body, free_port
from rig.wait import LIMIT, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Engine, Router

    StartRouter = Callable[..., Router]
    StartEngine = Callable[..., Engine]

CONNECTIONS = 64
STREAMS = 150
TRIES = 40
RATIO = 30
"""How much slower the control port may answer beside busy streams, on a machine whose cores are all taken by them."""


def split(start_router: StartRouter, **server: object) -> Router:
    port = free_port()
    keys = {"admin-port": port, **server}
    return start_router(
        f"server: {{{', '.join(f'{key}: {value}' for key, value in keys.items())}}}", control=port
    )


def test_a_data_port_without_room_for_one_more(start_router: StartRouter, start_engine: StartEngine) -> None:
    """Its clients never come to the end of a head, so none of them is idle."""
    router = split(start_router, **{"max-connections": CONNECTIONS})
    start_engine(router)
    router.wait_workers(mixed=1)
    stop = threading.Event()
    with ExitStack() as stack:
        slow = [stack.enter_context(RawClient("127.0.0.1", router.port)) for _ in range(CONNECTIONS + SPARE)]
        # Before the one comes for which an idle one would be closed.
        for client in slow:
            client.send(b"GET /health HTTP/1.1\r\nx: ")
        writer = threading.Thread(target=write_on, args=(slow, stop))
        writer.start()
        stack.callback(writer.join)
        stack.callback(stop.set)
        with pytest.raises(httpx.TimeoutException):
            httpx.get(f"{router.data_url}/health", timeout=1.5, trust_env=False)
        router.wait_log(
            rf"limit: {CONNECTIONS + SPARE} client connections .*, none of them idle; others wait$"
        )
        router.client.close()
        router.client = httpx.Client(base_url=router.url, timeout=LIMIT, trust_env=False)
        for path in ("/health", "/ready", "/registered", "/metrics"):
            assert router.get(path).status_code == 200
        assert router.unregister(1).status_code == 404
    wait_for(
        lambda: httpx.get(f"{router.data_url}/health", trust_env=False, timeout=LIMIT).status_code == 200
    )


def write_on(clients: list[RawClient], stop: threading.Event) -> None:
    """More of a head without end from each."""
    while not stop.wait(0.05):
        for client in clients:
            client.send(b"y")


def median(router: Router) -> float:
    """Of the seconds that an answer takes."""
    return statistics.median(router.round_trip() for _ in range(TRIES))


def test_a_data_port_full_of_streams(start_router: StartRouter, start_engine: StartEngine) -> None:
    router = split(start_router)
    start_engine(router, token_secs=0.02, max_batch=2 * STREAMS)
    router.wait_workers(mixed=1)
    alone = median(router)
    stop = threading.Event()
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient("127.0.0.1", router.port)) for _ in range(STREAMS)]
        reader = threading.Thread(target=read_all, args=(clients, stop))
        for client in clients:
            client.post("/v1/chat/completions", httpx.Request("POST", "http://r", json=BODY).content)
        reader.start()
        try:
            wait_for(lambda: sum(router.running().values()) >= STREAMS)
            beside = median(router)
            assert sum(router.running().values()) >= STREAMS, (
                "the streams ended before they were measured beside"
            )
        finally:
            stop.set()
            reader.join()
    print(
        f"alone {1000 * alone:.2f} ms, beside {STREAMS} streams {1000 * beside:.2f} ms: {beside / alone:.1f}x"
    )
    assert beside < RATIO * alone


BODY = chat_body("hi", stream=True, max_tokens=100_000)


def read_all(clients: list[RawClient], stop: threading.Event) -> None:
    """Take what comes, so that the streams flow."""
    for client in clients:
        client.socket.setblocking(False)
    while not stop.wait(0.01):
        for client in clients:
            try:
                client.socket.recv(65_536)
            except BlockingIOError:
                continue
