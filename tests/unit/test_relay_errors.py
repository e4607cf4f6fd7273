"""Every kind of failure, with what had passed by then."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from fd_router._core import UpstreamError
from rig.raw_worker import black_hole, reply
from rig.relaying import Receiver, drive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fd_router._core import Relay
    from rig import Peer
    from rig.relaying import StartWorker


def failure(
    url: str, *, collect: bool = False, body: bytes = b"{}", **limits: Any
) -> tuple[str, bool, bytes]:
    """(kind, received, bytes handed over) of an exchange that must fail."""

    async def run(relay: Relay) -> tuple[str, bool, bytes]:
        receiver = Receiver()
        exchange = relay.send(url, [], body, collect=collect)
        try:
            await exchange.head()
            await exchange.forward(receiver)
        except UpstreamError as caught:
            error = caught
        else:
            pytest.fail("the exchange did not fail")
        assert not receiver.ended
        assert str(error).startswith(error.kind + ": ")
        return error.kind, error.received, receiver.body

    return drive(run, **limits)


def sends(raw_worker: StartWorker, data: bytes, *, end: str = "close") -> str:
    """A worker that sends `data` in answer and closes, resets or stays."""

    def answer(peer: Peer) -> None:
        peer.send(data)
        if end == "stay":
            peer.wait_closed()
        else:
            getattr(peer, end)()

    return raw_worker(answer).url


def test_refused() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        assert failure(url) == ("refused", False, b"")


def test_connect_timeout() -> None:
    with black_hole() as port:
        assert failure(f"http://127.0.0.1:{port}/", connect_timeout_secs=0.1) == (
            "connect_timeout",
            False,
            b"",
        )


def test_connect_to_a_name_that_is_none() -> None:
    assert failure("http://no-such-host.invalid/") == ("connect", False, b"")


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Leave this process without a descriptor to open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("fresh", [True, False])
def test_without_a_descriptor(raw_worker: StartWorker, fresh: bool) -> None:
    worker = raw_worker(lambda peer: reply(b"{}"))

    async def run(relay: Relay) -> None:
        with no_descriptors():
            exchange = relay.send(worker.url, [], b"", fresh=fresh)
            with pytest.raises(UpstreamError) as caught:
                await exchange.head()
        assert (caught.value.kind, caught.value.received) == ("exhausted", False)
        exchange = relay.send(worker.url, [], b"", fresh=fresh)
        assert (await exchange.head()).status == 200

    drive(run)


@pytest.mark.parametrize("url", ["http://localhost:1/", "http://no-such-host.invalid/"])
def test_a_lookup_without_a_descriptor(url: str) -> None:
    """The resolver says that the name is unknown, as it cannot open its files."""

    async def run(relay: Relay) -> None:
        with no_descriptors():
            exchange = relay.send(url, [], b"")
            with pytest.raises(UpstreamError) as caught:
                await exchange.head()
        assert caught.value.kind == "exhausted"

    drive(run)


@pytest.mark.parametrize(
    ("data", "end", "received"),
    [(b"", "close", False), (b"", "reset", False), (b"HTTP/1.1 200 OK\r\ncontent-le", "close", True)],
)
def test_reset_before_head(raw_worker: StartWorker, data: bytes, end: str, received: bool) -> None:
    assert failure(sends(raw_worker, data, end=end)) == ("reset_before_head", received, b"")


@pytest.mark.parametrize(
    ("data", "received"),
    [
        (b"", False),
        (b"H", True),
        (b"HTTP/1.1 200 OK\r\ncontent-le", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n", True),
    ],
    ids=["nothing", "a byte", "half a head", "informational"],
)
def test_first_byte_timeout(raw_worker: StartWorker, data: bytes, received: bool) -> None:
    url = sends(raw_worker, data, end="stay")
    assert failure(url, first_byte_timeout_secs=0.1) == ("first_byte_timeout", received, b"")


@pytest.mark.parametrize("collect", [True, False])
@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
    ids=["length", "chunked"],
)
def test_reset_mid_body(raw_worker: StartWorker, data: bytes, collect: bool) -> None:
    got = failure(sends(raw_worker, data), collect=collect)
    assert got == ("reset_mid_body", True, b"" if collect else b"half")


@pytest.mark.parametrize("collect", [True, False])
def test_idle_timeout(raw_worker: StartWorker, collect: bool) -> None:
    url = sends(raw_worker, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", end="stay")
    got = failure(url, collect=collect, idle_timeout_secs=0.1)
    assert got == ("idle_timeout", True, b"" if collect else b"half")


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"\x00\xff\x16\x03",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 150 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n",
    ],
    ids=[
        "ssh",
        "version",
        "status",
        "header",
        "length",
        "lengths",
        "upgrade",
        "binary",
        "many-headers",
        "large-head",
    ],
)
def test_bad_response(raw_worker: StartWorker, data: bytes) -> None:
    assert failure(sends(raw_worker, data, end="stay")) == ("bad_response", True, b"")


@pytest.mark.parametrize("collect", [True, False])
def test_bad_chunks(raw_worker: StartWorker, collect: bool) -> None:
    data = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nZZ\r\n"
    got = failure(sends(raw_worker, data, end="stay"), collect=collect)
    assert got == ("bad_response", True, b"" if collect else b"half")


def test_a_worker_that_answers_before_it_has_read_the_request() -> None:
    """A 413 that comes before the body was taken passes, and its connection is not used again."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"

    async def run(relay: Relay) -> None:
        exchange = relay.send(url, [], b"x" * 20_000_000)
        await asyncio.sleep(0)
        connection, _ = listener.accept()
        # The head: an answer to a connection that nothing was asked on yet is no answer.
        assert connection.recv(16).startswith(b"POST / ")
        connection.sendall(reply(b"{}", 413))
        head = await exchange.head()
        assert (head.status, head.body) == (413, b"{}")
        assert relay.stats().idle_connections == 0
        connection.close()

    drive(run)
    listener.close()


def test_a_quiet_stream_outlives_the_limit_while_we_hold_it_back(raw_worker: StartWorker) -> None:
    def answer(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n")
        peer.send(b"x" * 300_000)

    worker = raw_worker(answer)

    async def run(relay: Relay) -> None:
        exchange = relay.send(worker.url, [], b"", collect=False)
        await exchange.head()
        receiver = Receiver()
        receiver.gate.clear()
        end = exchange.forward(receiver)
        finished, _ = await asyncio.wait([end], timeout=0.6)
        assert not finished
        receiver.gate.set()
        await end
        assert len(receiver.body) == 300_000

    drive(run, idle_timeout_secs=0.2, buffer_limit=10_000)


def test_errors_of_the_values() -> None:
    async def nothing(relay: Relay) -> None:
        pass

    with pytest.raises(ValueError, match="keep_alive_secs"):
        drive(nothing, keep_alive_secs=-1)
    with pytest.raises(ValueError, match="threads"):
        drive(nothing, threads=0)
    with pytest.raises(ValueError, match="idle_timeout_secs"):
        drive(nothing, idle_timeout_secs=float("nan"))
