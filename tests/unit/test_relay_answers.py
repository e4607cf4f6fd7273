"""What of a request reaches the worker, and what of its answer comes back."""

from __future__ import annotations

import hashlib
import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fd_router._core import HOP_HEADER
from rig.raw_worker import RawWorker, reply
from rig.relaying import Receiver, drive

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fd_router._core import Relay
    from fd_router.types import Headers
    from rig import Peer
    from rig.relaying import StartWorker

    Answer = tuple[int, Headers, bytes]


async def fetch(
    relay: Relay, url: str, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes = b"", **options: Any
) -> Answer:
    """(status, headers, body) by whichever way the body comes."""
    exchange = relay.send(url, list(headers), body, **options)
    head = await exchange.head()
    if head.body is not None:
        return head.status, head.headers, head.body
    receiver = Receiver()
    await exchange.forward(receiver)
    assert receiver.ended
    assert exchange.tail == receiver.body[-4:]
    return head.status, head.headers, receiver.body


def answer_with(raw_worker: StartWorker, data: bytes, **options: Any) -> Answer:
    """The answer to one request to a worker that sends `data` and closes."""

    def answer(peer: Peer) -> None:
        peer.send(data)
        peer.close()

    worker = raw_worker(answer)
    return drive(lambda relay: fetch(relay, worker.url + "/", **options))


@pytest.mark.parametrize("collect", [True, False])
@pytest.mark.parametrize(
    ("head", "body", "expected"),
    [
        (b"content-length: 5\r\n", b"hello", b"hello"),
        (b"content-length: 0\r\n", b"", b""),
        (b"transfer-encoding: chunked\r\n", b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", b"hello"),
        (b"transfer-encoding: chunked\r\n", b"5\r\nhello\r\n0\r\nx-trailer: 1\r\n\r\n", b"hello"),
        (b"", b"hello", b"hello"),
    ],
    ids=["length", "empty", "chunked", "trailers", "close-delimited"],
)
def test_every_framing_of_a_body(
    raw_worker: StartWorker, head: bytes, body: bytes, expected: bytes, collect: bool
) -> None:
    status, _, got = answer_with(raw_worker, b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body, collect=collect)
    assert (status, got) == (200, expected)


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(raw_worker: StartWorker, status: int) -> None:
    worker = raw_worker(lambda peer: b"HTTP/1.1 %d X\r\nx-a: 1\r\n\r\n" % status)

    async def twice(relay: Relay) -> None:
        for _ in range(2):
            assert await fetch(relay, worker.url) == (status, [(b"x-a", b"1")], b"")

    drive(twice)
    assert worker.connections == 1


def test_head_has_no_body_and_keeps_its_length(raw_worker: StartWorker) -> None:
    worker = raw_worker(lambda peer: b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n")

    async def twice(relay: Relay) -> None:
        for _ in range(2):
            assert await fetch(relay, worker.url, method="HEAD") == (200, [(b"content-length", b"99")], b"")

    drive(twice)
    assert worker.connections == 1
    assert [peer.method for peer in worker.hits] == ["HEAD", "HEAD"]


def test_informational_answers_are_passed_over(raw_worker: StartWorker) -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + reply(b"{}")
    assert answer_with(raw_worker, data)[::2] == (200, b"{}")


def test_redirects_are_not_followed(raw_worker: StartWorker) -> None:
    data = b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"
    assert answer_with(raw_worker, data) == (
        302,
        [(b"location", b"/elsewhere"), (b"content-length", b"0")],
        b"",
    )


def test_answer_headers_keep_multi_values_and_lose_hop_by_hop_ones(raw_worker: StartWorker) -> None:
    data = (
        b"HTTP/1.1 200 OK\r\nX-Bar: 1\r\nSet-Cookie: a\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nKeep-Alive: t\r\n"
        b"Set-Cookie: b\r\nUpgrade: h2\r\nProxy-Authenticate: x\r\nTrailer: t\r\ncontent-length: 2\r\n\r\nok"
    )
    assert answer_with(raw_worker, data)[1] == [
        (b"x-bar", b"1"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"content-length", b"2"),
    ]


def test_a_length_beside_a_transfer_encoding_does_not_pass(raw_worker: StartWorker) -> None:
    data = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    status, headers, body = answer_with(raw_worker, data)
    assert (status, headers, body) == (200, [], b"ok")


def test_what_of_a_request_reaches_the_worker(raw_worker: StartWorker) -> None:
    worker = raw_worker(lambda peer: reply(b"{}"))
    headers = [
        (b"authorization", b"Bearer k"),
        (b"x-twice", b"1"),
        (b"X_BD_LOGID", b"trace"),
        (b"x-twice", b"2"),
        (b"host", b"client.example"),
        (b"content-length", b"77"),
        (b"expect", b"100-continue"),
        (b"connection", b"close, x-hop"),
        (b"x-hop", b"1"),
        (b"te", b"trailers"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"websocket"),
    ]
    drive(lambda relay: fetch(relay, worker.url + "/v1/a%20b?q=1&r=%2F", headers, b"body"))
    (peer,) = worker.hits
    lines = peer.head.decode().split("\r\n")
    assert lines[0] == "POST /v1/a%20b?q=1&r=%2F HTTP/1.1"
    assert sorted(lines[1:-2]) == [
        "authorization: Bearer k",
        "content-length: 4",
        f"host: 127.0.0.1:{worker.port}",
        "x-fd-router-hop: router-1",
        "x-twice: 1",
        "x-twice: 2",
        "x_bd_logid: trace",
    ]
    assert peer.body == b"body"


def test_the_hop_follows_the_clients_headers(raw_worker: StartWorker) -> None:
    worker = raw_worker(lambda peer: reply(b"{}"))
    headers = [(b"x-a", b"1"), (b"X-Fd-Router-Hop", b"before"), (b"x-b", b"2")]
    listed = [*headers, (b"connection", HOP_HEADER)]

    async def run(relay: Relay) -> None:
        for sent in ([], headers, listed):
            await fetch(relay, worker.url, sent)
        await fetch(relay, worker.url, headers, fresh=True)

    drive(run, hop="router-2/3")
    name = HOP_HEADER.decode()
    assert [peer.header(name) for peer in worker.hits] == [
        ["router-2/3"],
        ["before", "router-2/3"],
        ["router-2/3"],
        ["before"],
    ]
    names = [line.partition(b":")[0] for line in worker.hits[2].head.split(b"\r\n")]
    assert names.index(HOP_HEADER) > names.index(b"x-b") > names.index(b"x-a")


@pytest.mark.parametrize("hop", ["", "a b", "a\r\nb", "\xe9", "\x00"])
def test_a_hop_that_cannot_be_carried(hop: str) -> None:
    async def nothing(relay: Relay) -> None:
        pass

    with pytest.raises(ValueError, match="hop"):
        drive(nothing, hop=hop)


@pytest.mark.parametrize(
    ("headers", "event_stream", "encoded"),
    [
        ([], False, False),
        (["content-type: text/event-stream"], True, False),
        (["Content-Type: Text/Event-Stream; charset=UTF-8", "content-encoding: identity"], True, False),
        (["content-type: text/event-stream-2"], False, False),
        (["content-type: text/event-stream", "Content-Encoding: GZIP"], True, True),
        (["content-encoding: identity", "content-encoding: br"], False, True),
    ],
)
def test_what_a_head_says_of_the_body(
    raw_worker: StartWorker, headers: list[str], event_stream: bool, encoded: bool
) -> None:
    lines = "\r\n".join(["HTTP/1.1 200 OK", "content-length: 2", *headers])
    worker = raw_worker(lambda peer: lines.encode() + b"\r\n\r\nok")

    async def run(relay: Relay) -> None:
        exchange = relay.send(worker.url, [], b"")
        head = await exchange.head()
        assert (head.event_stream, head.encoded) == (event_stream, encoded)

    drive(run)


def test_environment_proxies_are_ignored(raw_worker: StartWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    worker = raw_worker(lambda peer: reply(b"{}"))
    assert drive(lambda relay: fetch(relay, worker.url))[0] == 200


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:80/",
        "ftp://h/",
        "http://",
        "http:///p",
        "http://u:p@h/",
        "http://h:/",
        "http://h:99999/",
        "http://h/ x",
    ],
)
def test_a_url_that_cannot_be_sent_to(url: str) -> None:
    async def send(relay: Relay) -> None:
        with pytest.raises(ValueError, match="url"):
            relay.send(url, [], b"")

    drive(send)


@pytest.mark.parametrize("header", [(b"a b", b"1"), (b"", b"1"), (b"a", b"1\r\nb: 2"), (b"a", b"\x00")])
def test_a_header_that_cannot_be_carried(header: tuple[bytes, bytes]) -> None:
    async def send(relay: Relay) -> None:
        with pytest.raises(ValueError, match="header"):
            relay.send("http://127.0.0.1:1/", [header], b"")

    drive(send)


def test_collecting_ends_at_the_limit(raw_worker: StartWorker) -> None:
    worker = raw_worker(lambda peer: reply(b"x" * int(peer.body)))

    async def bodies(relay: Relay) -> list[bytes | None]:
        held = []
        for size in (99, 100, 101):
            exchange = relay.send(worker.url, [], b"%d" % size)
            head = await exchange.head()
            held.append(head.body)
            if head.body is None:
                receiver = Receiver()
                await exchange.forward(receiver)
                assert receiver.body == b"x" * size
        return held

    assert drive(bodies, collect_limit=100) == [b"x" * 99, b"x" * 100, None]


def test_a_chunked_body_over_the_limit_loses_nothing(raw_worker: StartWorker) -> None:
    pieces = [bytes([65 + i]) * 40 for i in range(5)]
    data = b"".join(b"28\r\n" + piece + b"\r\n" for piece in pieces)
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    worker = raw_worker(lambda peer: head + data + b"0\r\n\r\n")
    got = drive(lambda relay: fetch(relay, worker.url), collect_limit=100)
    assert got[2] == b"".join(pieces)


@pytest.mark.parametrize("collect", [True, False])
def test_ten_megabytes_arrive_whole_both_ways(raw_worker: StartWorker, collect: bool) -> None:
    body = hashlib.sha256(b"seed").digest() * (10 * 1024 * 1024 // 32)
    worker = raw_worker(lambda peer: reply(peer.body))
    assert drive(lambda relay: fetch(relay, worker.url, (), body, collect=collect))[2] == body


EVENTS = b'data: {"text": "a\xc3\xa9\xf0\x9f\x98\x80"}\n\ndata: [DONE]\n\n'


@settings(max_examples=40, deadline=None)
@given(cuts=st.sets(st.integers(1, len(EVENTS) - 1)), pause=st.booleans())
def test_a_stream_cut_anywhere_is_the_same_stream(cuts: set[int], pause: bool) -> None:
    edges = [0, *sorted(cuts), len(EVENTS)]

    def answer(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for start, end in itertools.pairwise(edges):
            peer.send(b"%x\r\n%b\r\n" % (end - start, EVENTS[start:end]))
            if pause:
                time.sleep(0)
        peer.send(b"0\r\n\r\n")

    worker = RawWorker(answer)
    try:
        assert drive(lambda relay: fetch(relay, worker.url, collect=False))[2] == EVENTS
    finally:
        worker.stop()


def test_a_stream_split_at_every_byte(raw_worker: StartWorker) -> None:
    def answer(peer: Peer) -> None:
        wire = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
            len(EVENTS),
            EVENTS,
        )
        for byte in wire:
            peer.send(bytes([byte]))

    worker = raw_worker(answer)
    assert drive(lambda relay: fetch(relay, worker.url, collect=False))[2] == EVENTS


@pytest.mark.parametrize("collect", [True, False])
@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (b'{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":4}}', (9, 4)),
        (b'{"prompt_tokens":9,"prompt_tokens_details":null}', (9, None)),
        (b"null", None),
    ],
    ids=["counted", "not counted", "null"],
)
def test_usage_is_there_when_the_answer_is(
    raw_worker: StartWorker, usage: bytes, expected: tuple[int, int | None] | None, collect: bool
) -> None:
    worker = raw_worker(lambda peer: reply(b'{"choices":[],"usage":' + usage + b"}"))

    async def ask(relay: Relay) -> tuple[int, int | None] | None:
        exchange = relay.send(worker.url, [], b"", collect=collect)
        assert exchange.usage is None
        if (await exchange.head()).body is None:
            await exchange.discard()
        return exchange.usage

    assert drive(ask) == expected
