"""What two replicas write and read each 50 ms, through a server of a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fd_router.state.replica.exchange import BLOCK_MS, HEAR_SECS, HURRY_SECS, TURN_SECS, Exchange, Shared
from fd_router.state.replica.line import place_of
from fd_router.state.replica.loads import SILENT_SECS
from fd_router.state.replica.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOADS, PREFIXES = b"loads", b"prefixes"


class Server:
    """Streams, and a clock of its own."""

    def __init__(self) -> None:
        self.millis = 7_000_000
        self.streams: dict[bytes, list[list[Any]]] = {}
        self.asked: list[tuple[Any, ...]] = []

    def add(self, key: bytes, *fields: Any) -> bytes:
        entries = self.streams.setdefault(key, [])
        place = b"%d-%d" % (self.millis, len(entries))
        entries.append([place, list(fields)])
        return place

    def answer(self, command: tuple[Any, ...]) -> Any:
        self.asked.append(command)
        match command:
            case ("XADD", key, *rest):
                return self.add(
                    key, *(str(each).encode() if isinstance(each, str) else each for each in rest[-4:])
                )
            case ("XREAD", "COUNT", count, *rest):
                names = rest[rest.index("STREAMS") + 1 :]
                half = len(names) // 2
                found = [
                    [key, self.after(key, place)[:count]]
                    for key, place in zip(names[:half], names[half:], strict=True)
                    if self.after(key, place)
                ]
                return found or None
        raise AssertionError(command)

    def after(self, key: bytes, place: bytes) -> list[list[Any]]:
        return [each for each in self.streams.get(key, []) if place_of(each[0]) > place_of(place)]


class Line:
    """What is asked waits until `answer`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._open: tuple[Sequence[Any], Callable[[list[Any]], None]] | None = None
        self.questions = 0

    @property
    def waits(self) -> bool:
        return self._open is not None

    def check(self) -> None:
        """Nothing ever goes wrong."""

    def ask(self, commands: Sequence[Any], take: Callable[[list[Any]], None]) -> None:
        assert self._open is None
        self.questions += 1
        self._open = (commands, take)

    def answer(self) -> None:
        """Unless the server holds it."""
        if self._open is None:
            return
        commands, take = self._open
        answers = [self._server.answer(command) for command in commands]
        if answers != [None] or "BLOCK" not in commands[0]:
            self._open = None
            take(answers)


class Parts:
    """Loads and prefixes of one replica, as much as an exchange meets."""

    key, place = PREFIXES, b"0-0"

    def __init__(self) -> None:
        self.loads: bytes | None = b"{}"
        self.entries: list[Any] = []
        self.heard: list[tuple[bytes, bytes, float]] = []
        self.taken: list[bytes] = []
        self.garbage = self.whole = self.ends = 0

    def forget_told(self) -> None:
        self.whole += 1

    def message(self) -> bytes | None:
        return self.loads

    def take(self, *args: Any) -> int:
        if len(args) == 3:
            self.heard.append(args)
            return 0
        self.place = args[0][0]
        self.taken.append(args[0][1][3])
        return len(self.taken[-1])

    def next_entries(self, most: int) -> list[Any]:
        taken, self.entries = self.entries[:most], self.entries[most:]
        return [("XADD", PREFIXES, "*", "by", b"x", "data", data) for data in taken]

    def caught_up(self) -> None:
        self.ends += 1


class Replica:
    def __init__(self, server: Server, name: str) -> None:
        self.now, self.board, self.rest = 100.0, 0, TURN_SECS
        self.parts = Parts()
        self.tell, self.hear = Line(server), Line(server)
        self.gate = False
        parts: Any = self.parts
        self.exchange = Exchange(name, "loads", Shared(parts, parts, parts, self._changed), lambda: self.now)
        self.begin()

    def begin(self) -> None:
        tell: Any = self.tell
        hear: Any = self.hear
        self.exchange.begin(tell, hear, lambda: self.gate)

    def _changed(self) -> None:
        self.board += 1

    def turn(self, secs: float | None = None) -> float:
        """After the rest that the one before asked for, unless it was another one."""
        self.now += self.rest if secs is None else secs
        self.rest = self.exchange.turn()
        self.tell.answer()
        self.hear.answer()
        return self.rest


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def pair(server: Server) -> list[Replica]:
    return [Replica(server, "one"), Replica(server, "two")]


def test_one_question_a_turn_writes_and_reads_all(server: Server, pair: list[Replica]) -> None:
    one, two = pair
    for replica in pair:
        replica.turn()
    assert [each[0] for each in server.asked] == ["XADD", "XADD"], (
        "nothing is read before it is known from where"
    )
    one.parts.entries = [b"prefix"]
    server.asked.clear()
    one.turn()
    assert [each[0] for each in server.asked] == ["XADD", "XADD", "XREAD"]
    assert one.parts.heard == [(b"two", b"{}", 0.0)]
    two.turn()
    assert [origin for origin, *_ in two.parts.heard] == [b"one"], "not what it said before"
    assert two.parts.taken == [b"prefix"]
    assert (two.tell.questions, two.hear.questions) == (2, 0)


def test_who_has_nothing_to_say_waits_at_the_server(server: Server, pair: list[Replica]) -> None:
    one, two = pair
    for replica in pair:
        replica.turn()
        replica.parts.loads = None
    for _ in range(5):
        one.turn()
        two.turn()
    assert one.hear.waits
    assert one.parts.heard == [(b"two", b"{}", 0.0)]
    assert server.asked[-1][3:5] == ("BLOCK", BLOCK_MS)
    questions = one.hear.questions
    one.parts.loads = b"{}"
    one.turn()
    two.hear.answer()
    assert (one.hear.questions, one.tell.questions) == (questions, 2)
    assert two.parts.heard[-1] == (b"one", b"{}", 0.0)
    assert not one.hear.waits, "its own came back"


def test_loads_of_long_ago_are_not_news(server: Server) -> None:
    server.add(LOADS, b"by", b"ghost", b"loads", b"{}")
    one = Replica(server, "one")
    server.millis += 60_000
    one.turn()
    for age in (3_500, 2_500, 0):
        server.add(LOADS, b"by", b"at %d" % age, b"loads", b"{}")
        server.millis += 1_000
    one.turn()
    assert one.parts.heard == [(b"at 2500", b"{}", 2.0), (b"at 0", b"{}", 1.0)]
    assert SILENT_SECS == 3.0


def test_word_of_the_board(server: Server, pair: list[Replica]) -> None:
    one, two = pair
    for replica in pair:
        replica.turn()
    one.parts.loads = None
    one.exchange.say_board()
    for _ in range(2):
        one.turn()
        two.turn()
    assert (one.board, two.board) == (0, 1)
    assert sum(b"board" in fields for _, fields in server.streams[LOADS]) == 1


def test_prefixes_wait_for_workers_at_the_gate(server: Server) -> None:
    server.add(PREFIXES, b"by", b"two", b"data", b"prefix")
    one = Replica(server, "one")
    one.gate = True
    one.turn()
    one.turn()
    assert (one.parts.taken, one.parts.ends) == ([], 0)
    one.gate = False
    one.turn()
    assert (one.parts.taken, one.parts.ends) == ([b"prefix"], 1)
    late = Replica(server, "late")
    late.gate = True
    for _ in range(200):
        late.turn()
    assert late.parts.taken == [b"prefix"]


def test_what_is_much_is_told_and_taken_in_parts(server: Server, pair: list[Replica]) -> None:
    one, two = pair
    for replica in pair:
        replica.turn()
    one.parts.entries = [bytes([number]) * 40_000 for number in range(30)]
    rests = [one.turn() for _ in range(9)]
    assert rests == [HURRY_SECS] * 7 + [TURN_SECS] * 2
    assert len(server.streams[LOADS]) == 4, "loads are told no oftener for that"
    assert two.turn() == TURN_SECS
    assert (len(two.parts.taken), two.parts.ends) == (4, 0), "128 KiB, and then requests have a turn"
    seen = []
    while two.turn() == HURRY_SECS:
        seen.append(len(two.parts.taken))
    assert two.parts.taken == [bytes([number]) * 40_000 for number in range(30)]
    assert seen[:3] == [8, 12, 16]
    assert two.parts.ends > 0


def test_who_does_not_hear_itself_reads_elsewhere_than_it_writes(server: Server) -> None:
    one = Replica(server, "one")
    one.turn()
    server.add = lambda *_: b"1-1"  # type: ignore[method-assign]
    for _ in range(int(HEAR_SECS / TURN_SECS) - 3):
        one.turn()
    one.now += 2 * TURN_SECS
    with pytest.raises(WireError, match="nothing that is written is heard for 3 s"):
        one.turn()


def test_who_was_stopped_does_not_blame_the_server(server: Server) -> None:
    one = Replica(server, "one")
    one.turn()
    assert one.turn(60.0) == HURRY_SECS
    assert one.turn() == TURN_SECS


@pytest.mark.parametrize(
    "entry",
    [b"x", [], [b"1-1"], [b"9999999999-1", None], [b"9999999999-1", [b"by", b"two", b"loads"]],
     [b"9999999999-1", [b"by", b"two", b"songs", b""]], [7, [b"by", b"two", b"loads", b""]]],
)  # fmt: skip
def test_garbage(server: Server, entry: Any) -> None:
    one = Replica(server, "one")
    one.turn()
    server.streams[LOADS] = []
    server.after = lambda key, place: [entry] if key == LOADS else []  # type: ignore[method-assign]
    one.turn()
    assert (one.parts.heard, one.parts.garbage) == ([], 1)


def test_an_answer_of_another_shape(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Replica(server, "one")
    one.turn()
    monkeypatch.setattr(
        server, "answer", lambda command: [[b"songs", []]] if command[0] == "XREAD" else b"1-1"
    )
    with pytest.raises(WireError, match="no streams"):
        one.turn()


def test_loads_of_all_are_told_after_each_connecting(server: Server) -> None:
    one = Replica(server, "one")
    one.begin()
    assert one.parts.whole == 2
