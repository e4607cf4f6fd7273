"""How an event is added to a stream that broke off."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fd_router.routing.delivery import frame_boundary

STREAMS = st.lists(st.sampled_from([b"data: 1", b": c", b"\n", b"\r\n", b"\r", b"\xc3"]), max_size=12).map(
    b"".join
)


def lines(stream: bytes) -> list[bytes]:
    """As the standard has them: ended by any of the three line ends."""
    return stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")


@given(STREAMS)
def test_the_event_stands_in_a_frame_of_its_own(stream: bytes) -> None:
    """The four bytes that are kept of a stream say enough, and nothing of it is glued to the event."""
    added = frame_boundary(stream[-4:])
    assert added == frame_boundary(stream)
    *before, event, end, rest = lines(stream + added + b"data: error\n\n")
    assert (event, end, rest) == (b"data: error", b"", b"")
    assert not before or before[-1] == b""
