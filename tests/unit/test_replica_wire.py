"""The connection to the server: what comes is bounded, and what is said of a failure has no secret in it."""

from __future__ import annotations

import asyncio
import random
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from fd_router.config.address import Address
from fd_router.state.replica.wire import MAX_ANSWER, WireError, tls_context
from rig.certificates import Authority
from rig.one_answer import FEW, Server, connected, given_up_as_too_large

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PASSWORD = "open-sesame"


def asked(server: Server, password: str = "") -> list[Any]:
    """What a question is answered with; in the same event loop as the server."""

    async def scene() -> list[Any]:
        async with connected(server, password) as wire:
            return await wire.ask(("GET", "a"))

    return asyncio.run(scene())


def test_an_answer() -> None:
    assert asked(Server(b"$3\r\na\r\n\r\n")) == [b"a\r\n"]
    most = b"x" * (MAX_ANSWER - 64)
    assert asked(Server(b"*2\r\n$%d\r\n%s\r\n:1\r\n" % (len(most), most))) == [[most, 1]]


@pytest.mark.parametrize(
    "answer",
    [
        b"$%d\r\n" % FEW + b"x" * (1 << 16),
        b"$512000000\r\n",
        b"*1000000\r\n" + b"$16000\r\n%s\r\n" % (b"x" * 16_000) * 100,
        b"*100000000\r\n" + b"$0\r\n\r\n" * (FEW // 6),
    ],
    ids=["value", "length", "values", "items"],
)
def test_an_answer_without_bounds_is_not_taken_in(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fd_router.state.replica.wire.MAX_ANSWER", FEW)
    with given_up_as_too_large():
        asked(Server(answer))


def noise(chance: random.Random) -> bytes:
    pieces = [b"*", b"$", b"+", b"-", b":", b"\r\n", b"1", b"-1", b"3", b"abc", b"\xff", b"_", b">", b"%"]
    return b"".join(chance.choices(pieces, k=chance.randrange(1, 30))) + b"\r\n\r\n"


def deep(_: random.Random) -> bytes:
    return b"*1\r\n" * 5_000


@pytest.mark.parametrize("answer", [noise] * 40 + [deep])
def test_whatever_a_server_says_is_an_answer_or_a_trouble(
    answer: Callable[[random.Random], bytes], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fd_router.state.replica.wire.LIMIT_SECS", 0.05)
    with suppress(WireError):
        asked(Server(answer(random.Random(request.node.name))))


@pytest.mark.parametrize(
    "words",
    [
        f"-ERR unknown command 'AUTH', with args beginning with: '{PASSWORD[:6]}",
        f"-ERR unknown command 'AUTH' '{PASSWORD}'",
        f"-ERR {'x' * 155} {PASSWORD}",
    ],
)
def test_a_secret_that_the_server_repeats_is_not_said(words: str) -> None:
    server = Server(f"{words}\r\n".encode())
    with pytest.raises(WireError) as found:
        asked(server, PASSWORD)
    assert PASSWORD.encode() in server.heard
    assert PASSWORD[:4] not in str(found.value)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
def test_a_file_of_authorities_counts_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, systems = Authority(tmp_path / "ours"), Authority(tmp_path / "systems", "systems")
    monkeypatch.setenv("SSL_CERT_FILE", str(systems.root))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))

    def names(ca_file: str) -> list[str]:
        context = tls_context(Address("h", 1, "", "", 0, tls=True, ca_file=ca_file))
        assert context is not None
        return [str(each["subject"]) for each in context.get_ca_certs()]

    assert len(names(str(ours.root))) == 1
    assert names(str(ours.root)) != names("")
    assert names("") != []
    with pytest.raises(WireError, match="TLS files: "):
        names(str(tmp_path / "missing.pem"))
