"""What replicas tell each other all the time, by two streams: loads, with word of the board, and prefixes.

Every 50 ms whatever is new here is written, and with it whatever is new there is read: one question of some commands
and one answer, on one connection, as what an exchange costs goes by its times and not by its bytes. Where nothing is
new here another connection waits for what is new there, held by the server, so that who is idle asks twice a second.

Loads in a stream are no less state than a message would be: what is older than `SILENT_SECS`, by the server's own
clock, was said by somebody who may be silent since, and is not taken. A replica hears what was written after its own
first loads, so that it does not take for new what others said before.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fd_router.runtime.patience import is_late
from fd_router.state.replica.line import place_of
from fd_router.state.replica.loads import SILENT_SECS
from fd_router.state.replica.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router.state.replica.line import Line
    from fd_router.state.replica.loads import OtherLoads, OwnLoads
    from fd_router.state.replica.prefixes import Prefixes
    from fd_router.state.replica.wire import Command

TURN_SECS = 0.05
"""Between two looks at what is to be told and heard."""
HURRY_SECS = 0.002
"""The same while there is more."""
HEAR_SECS = 3.0
"""Without anything of our own, after which what is read is taken for another stream than what is written."""
GATE_SECS = 5.0
"""How long a replica that starts waits for workers at the gate, before it reads their prefixes."""
READ_AT_ONCE = 16
"""Entries of one stream in an answer."""
WRITE_AT_ONCE = 4
"""Entries of prefixes in a question: 256 KiB."""
TAKE_AT_ONCE = 128 << 10
"""Bytes that are taken over before requests have a turn: some 2 ms."""
BLOCK_MS = 500
"""How long the server holds a question where there is nothing; shorter than the limit of an answer."""
MAX_LOADS = 256
"""Entries of the stream of loads: 64 replicas tell as many in 0.2 s."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What is told and heard."""

    own: OwnLoads
    others: OtherLoads
    prefixes: Prefixes
    board_changed: Callable[[], None]
    """Called when another replica wrote to the board."""


class Exchange:
    """Both directions, from one connecting to the next."""

    def __init__(self, replica: str, key: str, shared: Shared, clock: Callable[[], float]) -> None:
        """`key` is that of the loads."""
        self._replica, self._key = replica.encode(), key.encode()
        self._own, self._others, self._prefixes = shared.own, shared.others, shared.prefixes
        self._board_changed = shared.board_changed
        self._clock = clock
        self._board_is_new = False

    def begin(self, tell: Line, hear: Line, at_gate: Callable[[], bool]) -> None:
        """Connected anew; `at_gate` says whether workers are about to be let in."""
        self._tell, self._hear, self._at_gate = tell, hear, at_gate
        self._began = self._own_heard = self._due = self._loads_next = self._clock()
        self._place = b""
        """Of the last loads that were read; none before our own first ones."""
        self._millis = 0
        """The server's clock, as the newest entry has it."""
        self._warm = False
        """Whether prefixes are read."""
        self._with_loads = self._with_question = False
        self._left: deque[tuple[bytes, Any]] = deque()
        self._more_here = self._more_there = False
        self._own.forget_told()

    def say_board(self) -> None:
        """The board is another one: others hear of it with the next turn."""
        self._board_is_new = True

    def turn(self) -> float:
        """Tell and ask what there is; seconds until the next turn. Raises `WireError`."""
        now = self._clock()
        late, self._due = now - self._due, now + TURN_SECS
        if is_late(late, TURN_SECS):
            # Of us, and not of the server: what it has sent meanwhile has a turn first.
            self._own_heard = now
            return HURRY_SECS
        self._tell.check()
        self._hear.check()
        if self._left:
            self._take_some()
        elif not self._tell.waits:
            self._speak()
        if now - self._own_heard > HEAR_SECS:
            raise WireError(f"nothing that is written is heard for {HEAR_SECS:g} s")
        return HURRY_SECS if self._left or self._more_here or self._more_there else TURN_SECS

    def _speak(self) -> None:
        asks = self._place != b"" and not self._hear.waits
        commands = self._news()
        if not commands:
            if asks:
                self._hear.ask([self._question("BLOCK", BLOCK_MS)], self._heard)
            return
        if asks:
            commands.append(self._question())
        self._with_question = asks
        self._tell.ask(commands, self._told)

    def _news(self) -> list[Command]:
        loads = None
        # Not oftener, while there is more of something else.
        if self._clock() >= self._loads_next and (loads := self._own.message()) is not None:
            self._loads_next = self._clock() + TURN_SECS - HURRY_SECS
        self._with_loads = loads is not None
        commands = [self._entry("loads", loads)] if loads is not None else []
        if self._board_is_new:
            commands.append(self._entry("board", b""))
            self._board_is_new = False
        entries = self._prefixes.next_entries(WRITE_AT_ONCE)
        self._more_here = len(entries) == WRITE_AT_ONCE
        return commands + entries

    def _entry(self, kind: str, data: bytes) -> Command:
        return ("XADD", self._key, "MAXLEN", "~", MAX_LOADS, "*", "by", self._replica, kind, data)

    def _question(self, *block: str | int) -> Command:
        self._warm = self._warm or not self._at_gate() or self._clock() - self._began > GATE_SECS
        words = ("XREAD", "COUNT", READ_AT_ONCE, *block, "STREAMS", self._key)
        if not self._warm:
            return (*words, self._place)
        return (*words, self._prefixes.key, self._place, self._prefixes.place)

    # ---- what comes

    def _told(self, answers: list[Any]) -> None:
        streams = answers.pop() if self._with_question else None
        if self._with_loads:
            self._note([answers])
            self._place = self._place or answers[0]
        if self._with_question:
            self._heard([streams])

    def _heard(self, answers: list[Any]) -> None:
        (streams,) = answers
        counts = {self._key: 0, self._prefixes.key: 0}
        for stream in streams or ():
            match stream:
                case [bytes() as key, [*entries]] if key in counts:
                    counts[key] = len(entries)
                    self._left.extend((key, entry) for entry in entries)
                    self._note(entries)
                case _:
                    raise WireError("what was read are no streams")
        if self._warm and counts[self._prefixes.key] < READ_AT_ONCE:
            self._prefixes.caught_up()
        self._more_there = max(counts.values()) >= READ_AT_ONCE
        self._take_some()

    def _take_some(self) -> None:
        taken = 0
        while self._left and taken < TAKE_AT_ONCE:
            key, entry = self._left.popleft()
            taken += self._prefixes.take(entry) if key == self._prefixes.key else self._take_loads(entry)

    def _take_loads(self, entry: object) -> int:
        match entry:
            case [bytes() as place, [b"by", bytes() as origin, kind, bytes() as data]]:
                self._place = place
                if origin == self._replica:
                    self._own_heard = self._clock()
                elif kind == b"board":
                    self._board_changed()
                elif kind == b"loads":
                    age = (self._millis - place_of(place)[0]) / 1e3
                    if age < SILENT_SECS:
                        self._others.take(origin, data, age)
                else:
                    self._others.garbage += 1
                return len(data)
            case [bytes() as place, _]:
                self._place = place
        self._others.garbage += 1
        return 0

    def _note(self, entries: list[Any]) -> None:
        """What time it is at the server, by the last of these."""
        match entries:
            case [*_, [bytes() as place, *_]]:
                self._millis = max(self._millis, place_of(place)[0])
