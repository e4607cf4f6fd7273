"""Clients that are slow, or quiet, on purpose: how long each part of a request may take. `FAULTS_FULL=1` runs the
figures that operators meet."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from rig import RawClient, reply, sse_head, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Peer, RawWorker, Router

FULL = bool(os.environ.get("FAULTS_FULL"))
CHAT = "/v1/chat/completions"
NO_ROUNDS = "manager: {health-check-interval-secs: 3600}\n"


def prompt(size: int) -> bytes:
    """A body of so many bytes."""
    frame = b'{"messages":[{"role":"user","content":"%s"}]}'
    return frame % (b"x" * (size - len(frame) + 2))


def upload(client: RawClient, body: bytes, pieces: int, pause: float) -> float:
    """Send a body in equal pieces; the seconds that it took."""
    client.send(f"POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n".encode())
    began = time.monotonic()
    step = -(-len(body) // pieces)
    for at in range(0, len(body), step):
        time.sleep(pause)
        client.send(body[at : at + step])
    return time.monotonic() - began


def test_an_upload_that_makes_progress(
    start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker]
) -> None:
    """3 MB: with the defaults at 40 kB/s, else in pieces whose sum of pauses is four limits."""
    router = start_router(NO_ROUNDS + ("" if FULL else "server: {body-timeout-secs: 0.6}"))
    worker = raw_worker(lambda _: reply(b"{}"))
    assert router.register(worker.port).status_code == 200
    body = prompt(3_000_000)
    with router.raw() as client:
        took = upload(client, body, 75, 1.0) if FULL else upload(client, body, 24, 0.1)
        assert took > (70 if FULL else 2.4)
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert [hit.body == body for hit in worker.hits] == [True]


@pytest.mark.parametrize(
    ("limits", "sent", "why"),
    [
        ("body-timeout-secs: 0.3", b"{", "no byte of the body for 0.3 s"),
        ("body-timeout-secs: 0.3", b"", "no byte of the body for 0.3 s"),
        ("body-total-timeout-secs: 0.3", b"{", "body not complete after 0.3 s"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/register"])
def test_an_upload_that_stalls(
    start_router: Callable[..., Router], path: str, limits: str, sent: bytes, why: str
) -> None:
    router = start_router(f"server: {{{limits}}}")
    with router.raw() as client:
        client.send(f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n".encode() + sent)
        answer = client.read_until(b"}")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nconnection: close\r\n" in answer
    assert f"Invalid request body: {why}".encode() in answer
    router.wait_log(rf"\[POST\] {path} HTTP/1\.1 408 ")


def test_an_upload_in_single_bytes_is_ended_by_the_total(start_router: Callable[..., Router]) -> None:
    router = start_router("server: {body-timeout-secs: 0.5, body-total-timeout-secs: 1}")
    with router.raw() as client:
        client.send(f"POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n".encode())
        began = time.monotonic()

        def answered() -> bool:
            client.send(b" ")
            client.socket.settimeout(0.1)
            try:
                return client.socket.recv(12) == b"HTTP/1.1 408"
            except TimeoutError:
                return False

        wait_for(answered)
        assert time.monotonic() - began > 0.9


def test_an_upload_that_was_given_up_keeps_no_router_from_its_end(
    start_router: Callable[..., Router],
) -> None:
    """Bytes that nobody reads any more come in after the answer, and then the client is gone."""
    router = start_router(NO_ROUNDS + "server: {body-timeout-secs: 0.5}")
    with router.raw() as client:
        client.send(f"POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n ".encode())
        assert client.read_until(b"}").startswith(b"HTTP/1.1 408 ")
        with suppress(OSError):  # it may be closed by now
            for _ in range(20):
                client.send(b" ")
                time.sleep(0.005)
    began = time.monotonic()
    assert router.stop() == 0
    assert time.monotonic() - began < 20


SCALED = NO_ROUNDS + "server: {header-timeout-secs: 0.8, keep-alive-secs: 3}"
"""30 s and 120 s by default."""


def ask(client: RawClient, path: str = "/health") -> bytes:
    """One request on a connection; the answer's first line."""
    client.received = b""
    client.send(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
    return client.read_until(b"}").splitlines()[0]


def open_for(client: RawClient) -> float:
    """Seconds until the router closes the connection, without a byte."""
    began = time.monotonic()
    client.received = b""
    assert client.read_to_end() == b""
    return time.monotonic() - began


def test_an_idle_connection_outlasts_the_limit_of_heads(start_router: Callable[..., Router]) -> None:
    """By default 100 s, which balancers keep theirs for, and which exceeds the 30 s of heads."""
    router = start_router("" if FULL else SCALED)
    with router.raw() as client:
        for _ in range(2):
            assert ask(client) == b"HTTP/1.1 200 OK"
            time.sleep(100 if FULL else 1.6)
        assert ask(client) == b"HTTP/1.1 200 OK"
        client.socket.settimeout(200)
        took = open_for(client)
        assert (119 if FULL else 2.9) < took < (140 if FULL else 10)
    assert "server.header-timeout-secs" not in router.settled_log()


def test_a_shorter_limit_of_idle_connections(start_router: Callable[..., Router]) -> None:
    """The other way round, the server has the limit of heads, and the router ends what is idle."""
    router = start_router(NO_ROUNDS + "server: {header-timeout-secs: 30, keep-alive-secs: 0.5}")
    with router.raw() as client:
        assert ask(client) == b"HTTP/1.1 200 OK"
        assert 0.4 < open_for(client) < 10


@pytest.mark.parametrize("begin", ["at-once", "after-an-answer", "after-a-rest"])
@pytest.mark.parametrize("pause", [0.1, 60], ids=["in-single-bytes", "in-one-piece"])
def test_a_slow_head(start_router: Callable[..., Router], begin: str, pause: float) -> None:
    router = start_router(NO_ROUNDS + "server: {header-timeout-secs: 0.8, keep-alive-secs: 30}")
    with router.raw() as client:
        if begin != "at-once":
            assert ask(client) == b"HTTP/1.1 200 OK"
            if begin == "after-a-rest" or pause > 1:
                time.sleep(
                    1.0
                )  # a look must fall between the answer and a head of which nothing else is sent
        began = time.monotonic()
        client.send(b"GET /health HTTP/1.1\r\nx: ")
        client.socket.settimeout(pause)
        while True:
            try:
                assert client.socket.recv(1) == b""
                break
            except ConnectionResetError:
                break
            except TimeoutError:
                client.send(b"y")
        assert 0.7 < time.monotonic() - began < 10
    router.wait_log(r"limit: 1 client connections without a whole head within 0\.8 s")
    assert "[GET] ?" not in router.settled_log()


def test_a_client_that_says_nothing(start_router: Callable[..., Router]) -> None:
    router = start_router(NO_ROUNDS + "server: {header-timeout-secs: 0.8, keep-alive-secs: 30}")
    with router.raw() as client:
        assert 0.7 < open_for(client) < 10
    assert "server.header-timeout-secs" not in router.settled_log()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "mapped"])
def test_a_request_is_no_idle_connection(
    start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker], host: str
) -> None:
    """An engine that takes five limits to answer, one request behind another on one connection; and a silent stream."""

    def answer(peer: Peer) -> bytes | None:
        time.sleep(1.5)
        if b'"stream"' not in peer.body:
            return reply(b'{"ok":true}')
        peer.send(sse_head() + b"data: 1\n\n")
        time.sleep(1.5)
        peer.send(b"data: {}\n\n")
        peer.close()
        return None

    listen = "" if host == "127.0.0.1" else ", host: '::'"
    router = start_router(NO_ROUNDS + f"server: {{header-timeout-secs: 0.3, keep-alive-secs: 0.3{listen}}}")
    worker = raw_worker(answer)
    assert router.register(worker.port).status_code == 200
    with RawClient(host if host == "::1" else "127.0.0.1", router.port) as client:
        for body in (prompt(100), prompt(100), b'{"stream":true,"messages":[]}'):
            client.received = b""
            client.post(CHAT, body)
            assert client.read_until(b"}").startswith(b"HTTP/1.1 200 ")


def test_an_answer_without_its_request_read_ends_the_connection(start_router: Callable[..., Router]) -> None:
    """Its client may wait for ever with the rest of a body that nobody reads."""
    router = start_router(
        NO_ROUNDS + "server: {header-timeout-secs: 0.5, keep-alive-secs: 0.5, body-timeout-secs: 0.3}"
    )
    for _ in range(5):
        with router.raw() as client:
            client.send(f"POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{{".encode())
            assert client.read_to_end().startswith(b"HTTP/1.1 408 ")
