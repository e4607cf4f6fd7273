"""Clients that are slow, or quiet, on purpose: how long each part of a request may take. `FAULTS_FULL=1` runs the
figures that operators meet."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from rig import reply, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import RawClient, RawWorker, Router

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
