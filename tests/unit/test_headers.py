"""Headers that the router reads."""

from __future__ import annotations

import pytest

from fd_router.downstream import headers
from fd_router.errors import BadRequestError


def length(*values: bytes) -> int | None:
    return headers.content_length([(b"host", b"x"), *((b"content-length", value) for value in values)])


def test_get_takes_the_first() -> None:
    sent = [(b"a", b"1"), (b"b", b"2"), (b"b", b"3")]
    assert headers.get(sent, b"b") == b"2"
    assert headers.get(sent, b"c") is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"t", "t"), (b" t ", "t"), (b"", None), (b"  ", None), ("é".encode(), "é"), (b"\xff", "\ufffd")],
)
def test_case_110_trace_id(value: bytes, expected: str | None) -> None:
    assert headers.trace_id([(b"x_bd_logid", value)]) == expected


def test_no_trace_id() -> None:
    assert headers.trace_id([]) is None


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
