"""The board: whatever order things are heard in, and whoever was cut off, all come to hold the same."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from fd_router.state.replica import board as module
from fd_router.state.replica.board import GONE_SECS, LIVE_SECS, REFRESH_SECS, Board, Entry, decode, encode
from fd_router.state.replica.wire import WireError

if TYPE_CHECKING:
    from fd_router.state.replica.wire import Command


class Server:
    """As much of a Valkey as a board uses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.data: dict[str, bytes] = {}
        self.ends: dict[str, float] = {}
        self.index: set[str] = set()
        self.reads = 0
        self.refuses = ""

    async def ask(self, *commands: Command) -> list[Any]:
        return [self._one(*map(str, command[:1]), *command[1:]) for command in commands]

    do = ask

    def _one(self, word: str, key: Any = "", *rest: Any) -> Any:
        for name in [name for name, end in self.ends.items() if end <= self.now]:
            del self.data[name], self.ends[name]
        if word == self.refuses:
            raise WireError("refused")
        match word:
            case "GET":
                return self.data.get(key)
            case "GETRANGE":
                self.reads += 1
                return self.data.get(key, b"")
            case "SET" if rest[1] == "NX":
                self.data.setdefault(key, str(rest[0]).encode())
            case "SET":
                self.data[key] = rest[0]
                self.ends[key] = self.now + rest[2]
            case "EXPIRE":
                if key in self.ends:
                    self.ends[key] = max(self.ends[key], self.now + rest[0])
            case "INCR":
                self.data[key] = str(int(self.data.get(key, b"0")) + 1).encode()
                return int(self.data[key])
            case "ZADD":
                self.index |= set(rest[1::2])
            case "ZREM":
                self.index -= {name.decode() if isinstance(name, bytes) else name for name in rest}
            case "ZRANGE":
                return [name.encode() for name in sorted(self.index)]
        return b"OK"

    def lose_all(self) -> None:
        self.data, self.ends, self.index = {}, {}, set()


class Scene:
    """Some replicas of one board."""

    def __init__(self, replicas: int = 2) -> None:
        self.server = Server()
        self.boards = [Board(f"r{number}", "p:", lambda: self.server.now) for number in range(replicas)]
        self.alive = True

    def round(self, *boards: Board) -> list[list[str]]:
        wire: Any = self.server
        return [asyncio.run(each.round(wire, lambda _: self.alive)).changed for each in boards or self.boards]

    def pass_time(self, secs: float) -> None:
        self.server.now += secs


def test_what_one_says_all_hear_once() -> None:
    scene = Scene(3)
    first, *others = scene.boards
    scene.round()
    first.say("a", {"x": 1})
    assert scene.round() == [[], ["a"], ["a"]]
    assert scene.round() == [[], [], []]
    assert [each.value("a") for each in others] == [{"x": 1}] * 2
    others[0].say("a", None)
    assert scene.round() == [[], [], ["a"]]
    assert scene.round() == [["a"], [], []]
    assert [each.value("a") for each in scene.boards] == [None] * 3


def test_nothing_is_read_where_nothing_changed() -> None:
    scene = Scene()
    scene.boards[0].say("a", {})
    scene.round()
    scene.round()
    reads = scene.server.reads
    for _ in range(4):
        scene.pass_time(REFRESH_SECS / 5)
        scene.round()
    assert scene.server.reads == reads


def test_it_lives_as_long_as_somebody_keeps_it() -> None:
    scene = Scene()
    scene.boards[0].say("a", {})
    scene.round()
    for _ in range(10):
        scene.pass_time(REFRESH_SECS)
        scene.round(scene.boards[1])
    assert scene.boards[1].value("a") == {}
    scene.alive = False
    for _ in range(5):
        scene.pass_time(LIVE_SECS / 4)
        scene.round()
    assert not any(each.knows("a") for each in scene.boards)


def test_a_server_that_lost_all_gets_it_back() -> None:
    scene = Scene()
    scene.boards[0].say("a", {"x": 1})
    scene.boards[1].say("b", {"x": 2})
    scene.round()
    scene.boards[0].say("b", None)
    scene.round()
    scene.server.lose_all()
    for board in scene.boards:
        board.forget_server()
    late = Board("late", "p:", lambda: scene.server.now)
    scene.round()
    scene.round(late)
    assert (late.value("a"), late.value("b"), late.knows("b")) == ({"x": 1}, None, True)


def test_a_server_that_goes_back_gets_all_back_at_once() -> None:
    """After a FLUSHALL, which closes no connection."""
    scene = Scene()
    scene.boards[0].say("a", {"x": 1})
    scene.round()
    scene.round()
    scene.server.lose_all()
    scene.round()
    assert decode(scene.server.data["p:a"]) == Entry(1, "r0", {"x": 1})


def test_a_server_that_counts_anew_is_read_anew() -> None:
    """It may have come to the number that was seen, before anybody looked."""
    scene = Scene()
    first, second = scene.boards
    first.say("a", {})
    scene.round()
    scene.round()
    scene.server.lose_all()
    first.say("b", {})
    scene.round(first)
    assert scene.round(second) == [["b"]]
    scene.round()
    assert sorted(scene.server.index) == ["a", "b"]


@pytest.mark.parametrize("refused", ["SET", "EXPIRE"])
def test_what_a_round_found_is_told_by_the_next_where_it_failed_later(refused: str) -> None:
    scene = Scene()
    first, second = scene.boards
    scene.round()
    first.say("a", {"x": 1})
    scene.round(first)
    second.say("b", {})
    second.forget_server()
    scene.server.refuses = refused
    with pytest.raises(WireError):
        scene.round(second)
    scene.server.refuses = ""
    second.forget_server()
    assert scene.round(second) == [["a"]]
    assert scene.round(second) == [[]]


def test_who_was_cut_off_does_not_bring_back_what_is_gone() -> None:
    scene = Scene()
    first, second = scene.boards
    first.say("a", {})
    scene.round()
    scene.round()
    first.say("a", None)
    scene.pass_time(GONE_SECS / 2)
    for _ in range(3):
        scene.round(first)
        scene.pass_time(REFRESH_SECS)
    second.forget_server()
    assert scene.round(second) == [["a"]]
    assert second.value("a") is None
    scene.pass_time(GONE_SECS)
    scene.round()
    assert not first.knows("a")


def test_any_order_comes_to_the_same() -> None:
    """Replicas say things at random, hear of them at random, and the server forgets at random."""
    for seed in range(60):
        chance = random.Random(seed)
        scene = Scene(4)
        for _ in range(60):
            board = chance.choice(scene.boards)
            match chance.randrange(5):
                case 0 | 1:
                    board.say(chance.choice("abc"), chance.choice([None, {"x": chance.randrange(3)}]))
                case 2 if chance.random() < 0.1:
                    scene.server.lose_all()
                case _:
                    scene.round(board)
            scene.pass_time(chance.random())
        for _ in range(3):
            scene.pass_time(REFRESH_SECS)
            scene.round()
        views = [{name: board.value(name) for name in "abc"} for board in scene.boards]
        assert views.count(views[0]) == len(views), seed


def test_the_greater_number_counts_then_the_greater_name() -> None:
    entries = [Entry(1, "b", {}), Entry(2, "a", {}), Entry(2, "b", None)]
    for older, newer in pairwise(entries):
        assert newer.newer_than(older)
        assert not older.newer_than(newer)
        assert not older.newer_than(older)
    assert all(decode(encode(entry)) == entry for entry in entries)


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"[]", b"null", b'{"n":0,"by":"a","value":{}}', b'{"n":true,"by":"a","value":{}}',
     b'{"n":1,"by":1,"value":{}}', b'{"n":1,"by":"a","value":[]}', b'{"n":1,"by":"a"}',
     b'{"n":18446744073709551615,"by":"a","value":{}}', b'{"n":1,"by":"' + b"a" * 200 + b'","value":{}}', None, 7],
)  # fmt: skip
def test_what_is_no_entry(data: object) -> None:
    assert decode(data) is None


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NAMES", 3)
    scene = Scene(1)
    (board,) = scene.boards
    for name in "abcde":
        board.say(name, {})
    scene.round()
    assert board.names() == ["a", "b", "c"]
    # What is gone makes room.
    board.say("a", None)
    scene.round()
    board.say("f", {})
    scene.round()
    assert board.names() == ["b", "c", "f"]
