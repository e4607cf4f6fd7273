"""Headers that the router reads."""

from __future__ import annotations

import pytest

from fd_router._core import RequestHead
from fd_router.downstream import headers
from fd_router.errors import BadRequestError


def length(*values: bytes) -> int | None:
    sent = [(b"host", b"x"), *((b"content-length", value) for value in values)]
    return headers.body_length(RequestHead(sent, "1.1"))


def test_get_takes_the_first() -> None:
    sent = [(b"a", b"1"), (b"b", b"2"), (b"b", b"3")]
    assert headers.get(sent, b"b") == b"2"
    assert headers.get(sent, b"c") is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"t", "t"), (b" t ", "t"), (b"", None), (b"  ", None), ("é".encode(), "é"), (b"\xff", "\ufffd")],
)
def test_case_110_trace_id(value: bytes, expected: str | None) -> None:
    assert RequestHead([(b"x_bd_logid", value)], "1.1").trace_id == expected


def test_no_trace_id() -> None:
    assert RequestHead([], "1.1").trace_id is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [((), None), ((b"0",), 0), ((b" 12 ",), 12), ((b"12", b"12"), 12), ((b"12, 12",), 12)],
)
def test_content_length(values: tuple[bytes, ...], expected: int | None) -> None:
    assert length(*values) == expected


@pytest.mark.parametrize(
    "values",
    [
        (b"",),
        (b"-1",),
        (b"+1",),
        (b"1.0",),
        (b"0x1",),
        (b"1_0",),
        (b"9" * 5000,),
        (b"1", b"2"),
        (b"1, 2",),
        (b"1,",),
    ],
)
def test_content_length_that_is_none(values: tuple[bytes, ...]) -> None:
    with pytest.raises(BadRequestError, match="Content-Length") as caught:
        length(*values)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("peer", "expected"),
    [(("10.0.0.1", 5), "10.0.0.1"), (("::ffff:10.0.0.1", 5), "10.0.0.1"), (["::1", 5], "::1"), (None, "-")],
)
def test_client_ip_is_the_peer(peer: tuple[str, int] | None, expected: str) -> None:
    assert headers.client_ip(peer) == expected


@pytest.mark.parametrize(
    ("sent", "version"),
    [
        ([(b"host", b"a")], "1.1"),
        ([(b"x", b"y"), (b"host", b"[::1]:80"), (b"transfer-encoding", b"chunked")], "1.1"),
        ([(b"host", b"a"), (b"transfer-encoding", b" Chunked ")], "1.1"),
        ([], "1.0"),
        ([(b"host", b"")], "1"),
    ],
)
def test_heads_that_mean_one_thing(sent: list[tuple[bytes, bytes]], version: str) -> None:
    headers.check(RequestHead(sent, version))


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        ([], "missing Host"),
        ([(b"host", b"")], "missing Host"),
        ([(b"host", b"a"), (b"host", b"a")], "more than one Host"),
        ([(b"host", b"a/b")], "malformed Host"),
        ([(b"host", b"a\n")], "malformed Host"),
        ([(b"host", "é".encode())], "malformed Host"),
        ([(b"host", b"a"), (b"transfer-encoding", b"gzip, chunked")], "Transfer-Encoding"),
        ([(b"host", b"a"), (b"transfer-encoding", b"")], "Transfer-Encoding"),
        ([(b"host", b"a"), *[(b"transfer-encoding", b"chunked")] * 2], "Transfer-Encoding"),
    ],
)
def test_heads_that_mean_several(sent: list[tuple[bytes, bytes]], problem: str) -> None:
    with pytest.raises(BadRequestError, match=problem) as caught:
        headers.check(RequestHead(sent, "1.1"))
    assert caught.value.status == 400
