"""The client's side: reading bodies within limits, and noticing that a client left."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from fd_router.downstream import body
from fd_router.downstream.body import BodyLimits
from fd_router.downstream.client import Client
from fd_router.errors import BadRequestError, BodyTooLargeError, RequestTimeoutError
from fd_router.runtime.overdue import OverdueWatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LIMIT = 10


def piece(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


class Scene:
    """A client whose messages are given; after them it stays silent."""

    def __init__(self, *messages: dict[str, Any], length: int | None = None) -> None:
        self.messages = list(messages)
        headers = [] if length is None else [(b"content-length", b"%d" % length)]
        scope = {
            "method": "POST",
            "path": "/",
            "http_version": "1.1",
            "query_string": b"",
            "headers": headers,
            "client": None,
        }
        self.client = Client(scope, self._receive, self._send, OverdueWatch(0.01))

    async def _receive(self) -> dict[str, Any]:
        if not self.messages:
            await asyncio.Event().wait()
        return self.messages.pop(0)

    async def _send(self, message: Any) -> None:
        raise AssertionError(message)

    def read(self, gap: float = 30.0, total: float = 0.0) -> Awaitable[bytes]:
        return self.client.read_body(BodyLimits(LIMIT, gap, total))


def run(scene: Callable[[], Awaitable[Any]]) -> Any:
    async def limited() -> Any:
        return await asyncio.wait_for(scene(), 20)

    return asyncio.run(limited())


def test_pieces_are_joined() -> None:
    assert run(lambda: Scene(piece(b"ab", more=True), piece(b"cd", more=False)).read()) == b"abcd"


def test_a_known_length_ends_the_body_without_another_message() -> None:
    scene = Scene(piece(b"abc", more=True), GONE, length=3)
    assert run(scene.read) == b"abc"
    assert scene.messages == [GONE]


@pytest.mark.parametrize(
    ("scene", "left"),
    [
        (Scene(piece(b"", more=False), length=LIMIT + 1), 1),
        (Scene(piece(b"x" * 6, more=True), piece(b"x" * 6, more=True), piece(b"", more=False)), 1),
    ],
    ids=["announced", "sent"],
)
def test_a_long_body_is_refused_as_soon_as_it_is_known_to_be_long(scene: Scene, left: int) -> None:
    with pytest.raises(BodyTooLargeError):
        run(scene.read)
    assert len(scene.messages) == left


def test_an_answer_in_place_of_a_body_that_was_given_up_is_its_connections_last() -> None:
    async def scene() -> list[tuple[bytes, bytes]]:
        given_up = Scene(piece(b"a", more=True), length=3)
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        given_up.client.send = send
        with suppress(RequestTimeoutError):
            await given_up.read(gap=0.02)
        await given_up.client.answer(408, b"", [])
        headers: list[tuple[bytes, bytes]] = sent[0]["headers"]
        return headers

    assert (b"connection", b"close") in run(scene)


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"gap": 0.02}, r"^no byte of the body for 0\.02 s$"),
        ({"gap": 0.02, "total": 30}, r"^no byte of the body for 0\.02 s$"),
        ({"total": 0.02}, r"^body not complete after 0\.02 s$"),
        ({"gap": 0, "total": 0.02}, r"^body not complete after 0\.02 s$"),
    ],
)
def test_a_body_that_does_not_come_is_given_up(limits: dict[str, float], why: str) -> None:
    with pytest.raises(RequestTimeoutError, match=why):
        run(lambda: Scene(piece(b"a", more=True)).read(**limits))


class Slow(Scene):
    """Its pieces come `pace` seconds apart."""

    pace = 0.05

    async def _receive(self) -> dict[str, Any]:
        await asyncio.sleep(self.pace)
        return await super()._receive()


def test_a_body_that_moves_on_is_read_however_long_it_takes() -> None:
    """Eight pieces take 0.4 s, twice the limit of 0.2 s between two of them."""
    pieces = [piece(b"x", more=number < 7) for number in range(8)]
    assert run(lambda: Slow(*pieces).read(gap=0.2)) == b"x" * 8
    with pytest.raises(RequestTimeoutError, match="not complete"):
        run(lambda: Slow(*pieces).read(gap=0.2, total=0.2))


@pytest.mark.parametrize("limits", [{"gap": 0.1}, {"gap": 0.1, "total": 0.1}])
def test_a_stop_of_the_process_does_not_count(
    monkeypatch: pytest.MonkeyPatch, limits: dict[str, float]
) -> None:
    """The loop stands still for longer than the limits while the body waits in the socket."""
    monkeypatch.setattr(body, "LATE_SECS", 0.2)

    class Stopped(Slow):
        async def _receive(self) -> dict[str, Any]:
            if len(self.messages) == 1:
                await asyncio.sleep(0.04)  # the clock runs
                time.sleep(0.5)  # noqa: ASYNC251 - that is the point
                await asyncio.sleep(0.01)
            return await Scene._receive(self)

    assert run(lambda: Stopped(piece(b"x", more=True), piece(b"x", more=False)).read(**limits)) == b"xx"


@pytest.mark.parametrize("limits", [{"gap": 0.05}, {"gap": 30}], ids=["given-up", "read"])
def test_a_body_that_took_long_leaves_nothing_to_the_collector(limits: dict[str, float]) -> None:
    """The server keeps a connection for as long as anyone might read its body."""

    async def scene() -> weakref.ref[Client]:
        slow = Slow(piece(b"a", more=True), piece(b"b", more=False))
        slow.pace = 0.1
        client = slow.client
        del slow.client  # which refers to the scene
        with suppress(RequestTimeoutError):
            await client.read_body(BodyLimits(LIMIT, limits["gap"], 0))
        client.settle()
        return weakref.ref(client)

    gc.collect()
    gc.disable()
    try:
        assert run(scene)() is None
    finally:
        gc.enable()


def test_a_body_whose_time_is_up_as_a_piece_comes_is_given_up() -> None:
    class Met(Scene):
        def _receive(self) -> Any:
            """The first piece is there, and its reader has not come to it, when its time is up."""
            if len(self.messages) == 2:
                self.client._expire("its time is up")
            future = asyncio.get_running_loop().create_future()
            future.set_result(self.messages.pop(0))
            return future

    with pytest.raises(RequestTimeoutError, match="its time is up"):
        run(lambda: Met(*(piece(b"x", more=True) for _ in range(3))).read())


def test_cancelling_the_request_is_not_taken_for_its_timeout() -> None:
    async def scene() -> None:
        task = asyncio.ensure_future(Scene().read())
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        run(scene)


@pytest.mark.parametrize(
    ("length", "message"),
    [(3, "ended after 1 of 3 bytes"), (None, "chunks are malformed, or ended early, after 1 bytes")],
)
def test_a_body_that_breaks_off(length: int | None, message: str) -> None:
    with pytest.raises(BadRequestError) as error:
        run(Scene(piece(b"a", more=True), GONE, length=length).read)
    assert (error.value.status, str(error.value)) == (400, message)


def test_a_client_that_leaves_is_noticed_behind_the_rest_of_its_body() -> None:
    async def scene() -> bool:
        gone = asyncio.Event()
        client = Scene(piece(b"", more=False), GONE).client
        client.watch(gone.set)
        await gone.wait()
        return client.gone

    assert run(scene)


def test_after_the_answer_nobody_is_told() -> None:
    async def scene() -> list[str]:
        told: list[str] = []
        answered, watched = Scene(GONE).client, Scene(GONE).client
        answered.watch(lambda: told.append("answered"))
        answered.settle()
        done = asyncio.Event()

        def tell() -> None:
            told.append("watched")
            done.set()

        watched.watch(tell)
        await done.wait()
        return told

    assert run(scene) == ["watched"]
