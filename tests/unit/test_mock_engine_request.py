"""The mock engine's HTTP parser: whole requests, whatever pieces they come in, held against h11."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fd_router.mock_engine.request import MAX_BODY, MAX_HEAD, BadRequestError, Parser, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKS = HOST + b"Transfer-Encoding: chunked\r\n\r\n"
PLAIN = b"POST /v1/completions?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX-Y: 1\r\nX-Y: 2\r\n\r\nhello"
CHUNKED = CHUNKS + b"3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n"
BARE = b"GET /health HTTP/1.0\r\n\r\n"


class Read(NamedTuple):
    """What matters of a request, in h11's words."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


def requests(parser: Parser, pieces: Sequence[bytes]) -> list[Request]:
    found = []
    for piece in pieces:
        parser.feed(piece)
        while (request := parser.next()) is not None:
            found.append(request)
    return found


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    points = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(points)]


def read_by_us(data: bytes) -> Read | None:
    found = requests(Parser(), [data])
    if not found:
        return None
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in found[0].headers]
    return Read(found[0].method.encode(), found[0].target.encode(), headers, found[0].body)


def read_by_h11(data: bytes) -> Read | None:
    """The first request, None where it is not whole. Raises `h11.RemoteProtocolError`."""
    connection, body = h11.Connection(h11.SERVER), b""
    connection.receive_data(data)
    request = connection.next_event()
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if not isinstance(event, h11.Data):
            return None
        body += event.data
    assert isinstance(request, h11.Request)
    return Read(request.method, request.target, list(request.headers), body)


def written_by_h11(headers: list[tuple[str, bytes]], pieces: list[bytes], chunked: bool) -> bytes:
    connection, length = h11.Connection(h11.CLIENT), b"%d" % sum(map(len, pieces))
    framing = (b"Transfer-Encoding", b"chunked") if chunked else (b"Content-Length", length)
    named = [(name.encode(), value) for name, value in headers]
    events = [
        h11.Request(method="POST", target="/a?b", headers=[(b"Host", b"a"), *named, framing]),
        *(h11.Data(data=piece) for piece in pieces),
        h11.EndOfMessage(headers=[("X-T", "1")] if chunked else []),
    ]
    return b"".join(connection.send(event) or b"" for event in events)


@given(st.lists(st.integers(0, len(PLAIN + CHUNKED + BARE)), max_size=8))
def test_pieces_do_not_matter(cuts: list[int]) -> None:
    plain, chunked, bare = requests(Parser(), split(PLAIN + CHUNKED + BARE, cuts))
    assert (plain.method, plain.path, plain.body) == ("POST", "/v1/completions", b"hello")
    assert [value for name, value in plain.headers if name == "x-y"] == ["1", "2"]
    assert plain.head + plain.body == PLAIN
    assert chunked.body == b"abc0123456789"
    assert (bare.path, bare.body, bare.keep_alive) == ("/health", b"", False)


@given(
    st.lists(
        st.tuples(st.from_regex(r"\AX-[!#$%&'*+.^_`|~0-9A-Za-z-]*\Z"), st.from_regex(r"\A[!-~\xa1-\xff]*\Z"))
    ),
    st.lists(st.binary(max_size=40), max_size=4),
    st.booleans(),
    st.lists(st.integers(0, 400), max_size=4),
)
def test_reads_what_h11_writes(
    headers: list[tuple[str, str]], pieces: list[bytes], chunked: bool, cuts: list[int]
) -> None:
    raw_headers = [(name, value.encode("latin-1")) for name, value in headers]
    data = written_by_h11(raw_headers, pieces, chunked)
    assert len(requests(Parser(), split(data + data, cuts))) == 2
    assert read_by_us(data) == read_by_h11(data)
    assert read_by_us(data[:-1]) is None


@given(
    st.sampled_from([PLAIN, CHUNKED, BARE]),
    st.lists(
        st.tuples(st.integers(0, 120), st.integers(0, 2), st.binary(max_size=3)), min_size=1, max_size=3
    ),
)
def test_takes_nothing_that_h11_refuses(data: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    for at, drop, put in edits:
        data = data[:at] + put + data[at + drop :]
    try:
        ours = read_by_us(data)
    except BadRequestError:
        return
    assert ours is None or ours == read_by_h11(data)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
        HOST + b"Host: b\r\n\r\n",
        HOST + b"A : b\r\n\r\n",
        HOST + b"A: b\0\r\n\r\n",
        HOST + b"A: b\rc\r\n\r\n",
        HOST + b"Content-Length: +5\r\n\r\nhello",
        HOST + b"Content-Length: 1_0\r\n\r\n0123456789",
        HOST + b"Content-Length: 1\r\nContent-Length: 5\r\n\r\nhello",
        HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        CHUNKS + b"0x3\r\nabc\r\n0\r\n\r\n",
        CHUNKS + b"3\r\nabcde\r\n0\r\n\r\n",
    ],
)
def test_refuses_as_h11_does(data: bytes) -> None:
    with pytest.raises(h11.RemoteProtocolError) as theirs:
        read_by_h11(data)
    with pytest.raises(BadRequestError) as ours:
        read_by_us(data)
    assert ours.value.status == theirs.value.error_status_hint


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (HOST + b"no colon here\r\n\r\n", 400),
        (HOST + b"Content-Length: -1\r\n\r\n", 400),
        (HOST + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1), 413),
        (HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (CHUNKS + b"zz\r\n", 400),
        (b"x" * (MAX_HEAD + 1), 431),
    ],
)
def test_refuses_what_is_no_request(data: bytes, status: int) -> None:
    with pytest.raises(BadRequestError) as caught:
        requests(Parser(), [data])
    assert caught.value.status == status


def test_tells_of_a_client_that_waits_for_100() -> None:
    parser = Parser()
    parser.feed(HOST + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    assert parser.next() is None
    assert parser.wants_continue
    parser.feed(b"x")
    request = parser.next()
    assert request is not None
    assert not parser.wants_continue
