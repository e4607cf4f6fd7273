"""Questions every 50 ms: what comes is bounded, and whatever goes wrong is found by the next look."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from fd_router.config.address import Address
from fd_router.state.replica.line import Line, packed, place_of
from fd_router.state.replica.wire import Wire, WireError
from rig.one_answer import FEW, Server, connected, given_up_as_too_large

if TYPE_CHECKING:
    from collections.abc import Callable

PASSWORD = "open-sesame"
LIMIT_SECS = 5.0


def asked(server: Server, questions: int = 1, password: str = "") -> list[Any]:
    """What a question of so many commands is answered with; in the same event loop as the server."""

    async def scene() -> list[Any]:
        got: list[Any] = []
        async with connected(server, password) as wire:
            line = Line(wire, time.monotonic)
            line.ask([("GET", "a")] * questions, got.extend)
            end = time.monotonic() + LIMIT_SECS
            while not got:
                assert time.monotonic() < end
                line.check()
                await asyncio.sleep(0.001)
            line.check()
            assert not line.waits
            return got

    return asyncio.run(scene())


def test_a_command() -> None:
    assert packed(("XADD", b"\xff", 12)) == b"*3\r\n$4\r\nXADD\r\n$1\r\n\xff\r\n$2\r\n12\r\n"


def test_answers() -> None:
    assert asked(Server(b"$3\r\na\r\n\r\n")) == [b"a\r\n"]
    assert asked(Server(b"+OK\r\n*2\r\n:1\r\n$-1\r\n*-1\r\n"), 3) == [b"OK", [1, None], None]


@pytest.mark.parametrize(
    "answer",
    [
        b"$%d\r\n" % (FEW + 1) + b"x" * (1 << 16),
        b"$512000000\r\n",
        b"*1000000\r\n" + b"$16000\r\n%s\r\n" % (b"x" * 16_000) * 100,
        b"*100000\r\n" + b"$0\r\n\r\n" * FEW,
        b"*100000000\r\n",
    ],
    ids=["value", "length", "values", "items", "count"],
)
def test_an_answer_without_bounds_is_not_taken_in(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fd_router.state.replica.line.MAX_ANSWER", FEW)
    with given_up_as_too_large():
        asked(Server(answer))


@pytest.mark.parametrize("answer", [b"+1\r\n+2\r\n", b"hello\r\n", b"*1\r\n" * 5_000])
def test_what_was_not_asked_for_is_a_trouble(answer: bytes) -> None:
    with pytest.raises(WireError, match=r"no answer|nothing that was asked"):
        asked(Server(answer))


def noise(chance: random.Random) -> bytes:
    pieces = [b"*", b"$", b"+", b"-", b":", b"\r\n", b"1", b"-1", b"3", b"abc", b"\xff", b"_", b">", b"%"]
    return b"".join(chance.choices(pieces, k=chance.randrange(1, 30))) + b"\r\n\r\n"


@pytest.mark.parametrize("seed", range(40))
def test_whatever_a_server_says_is_an_answer_or_a_trouble(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fd_router.state.replica.line.LIMIT_SECS", 0.05)
    try:
        (answer,) = asked(Server(noise(random.Random(seed))))
    except WireError:
        return
    assert not isinstance(answer, str)


def test_a_refusal_is_a_trouble_without_a_secret() -> None:
    with pytest.raises(WireError, match=r"^NOPERM of \*\*\*$"):
        asked(Server(b"+OK\r\n", f"-NOPERM of {PASSWORD}\r\n".encode()), password=PASSWORD)


def test_what_happens_to_the_connection_is_found() -> None:
    class Closing(Server):
        async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.close()

    with pytest.raises(WireError, match="closed by server"):
        asked(Closing(b""))


def test_who_is_silent_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fd_router.state.replica.line.LIMIT_SECS", 0.05)
    with pytest.raises(WireError, match="Timeout"):
        asked(Server(b""))


def test_a_mistake_of_ours_is_no_trouble_of_the_server() -> None:
    def wrong(_: list[Any]) -> None:
        raise KeyError("ours")

    def answered(take: Callable[[list[Any]], None]) -> Line:
        line = Line(silent(), time.monotonic)
        line.ask([("GET", "a")], take)
        line.data_received(b":1\r\n")
        return line

    with pytest.raises(KeyError, match="ours"):
        answered(wrong).check()
    line = answered(lambda _: None)
    line.check()
    line.end()
    line.data_received(b"what comes late")
    with pytest.raises(WireError, match="ended"):
        line.check()


def silent() -> Any:
    """A wire of which nothing comes."""

    class Silent(Wire):
        def hand_over(self, _: asyncio.Protocol) -> Any:
            return asyncio.WriteTransport.__new__(Deaf)

    class Deaf(asyncio.WriteTransport):
        def write(self, _: Any) -> None:
            """Nobody reads it."""

    return Silent(Address("127.0.0.1", 1, "", "", 0, tls=False), None)


@pytest.mark.parametrize(
    ("identifier", "place"), [(b"12-3", (12, 3)), (b"", (0, 0)), (b"x-1", (0, 0)), (b"1-", (0, 0))]
)
def test_places(identifier: bytes, place: tuple[int, int]) -> None:
    assert place_of(identifier) == place
