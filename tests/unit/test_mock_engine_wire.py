"""The mock engine's HTTP parser: whole requests, whatever pieces they come in."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fd_router.mock_engine.wire import MAX_BODY, MAX_HEAD, BadRequestError, Parser, Request

PLAIN = b"POST /v1/completions?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX-Y: 1\r\nX-Y: 2\r\n\r\nhello"
CHUNKED = (
    b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"
)
BARE = b"GET /health HTTP/1.0\r\n\r\n"


def requests(parser: Parser, pieces: list[bytes]) -> list[Request]:
    found = []
    for piece in pieces:
        parser.feed(piece)
        while (request := parser.next()) is not None:
            found.append(request)
    return found


@given(st.lists(st.integers(0, len(PLAIN + CHUNKED + BARE)), max_size=8))
def test_pieces_do_not_matter(cuts: list[int]) -> None:
    data = PLAIN + CHUNKED + BARE
    points = [0, *sorted(cuts), len(data)]
    plain, chunked, bare = requests(Parser(), [data[a:b] for a, b in pairwise(points)])
    assert (plain.method, plain.path, plain.body) == ("POST", "/v1/completions", b"hello")
    assert [value for name, value in plain.headers if name == "x-y"] == ["1", "2"]
    assert plain.head + plain.body == PLAIN
    assert chunked.body == b"abc0123456789"
    assert (bare.path, bare.body, bare.keep_alive) == ("/health", b"", False)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon here\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1), 413),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"x" * (MAX_HEAD + 1), 431),
    ],
)
def test_refuses_what_is_no_request(data: bytes, status: int) -> None:
    parser = Parser()
    parser.feed(data)
    with pytest.raises(BadRequestError) as caught:
        parser.next()
    assert caught.value.status == status


def test_tells_of_a_client_that_waits_for_100() -> None:
    parser = Parser()
    parser.feed(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    assert parser.next() is None
    assert parser.wants_continue
    parser.feed(b"x")
    request = parser.next()
    assert request is not None
    assert not parser.wants_continue
