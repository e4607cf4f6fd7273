"""A connection for questions every 50 ms: nobody waits for an answer, it is one call out of the event loop.

redis-py connects and enters. From then on its reader is put aside, as an answer there costs a future, a timer and a
task's turn, 60 to 160 us of a loop that has requests to serve.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fd_router._core import Replies
from fd_router.state.replica.wire import LIMIT_SECS, MAX_ANSWER, WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fd_router.state.replica.wire import Command, Wire

    Take = Callable[[list[Any]], None]


class Line(asyncio.Protocol):
    """Several commands at once, and then all their answers."""

    def __init__(self, wire: Wire, clock: Callable[[], float]) -> None:
        """`wire` is open, and has no answer to come; nothing is asked by it any more."""
        self._wire = wire
        self._clock = clock
        self._replies = Replies(MAX_ANSWER)
        self._got: list[Any] = []
        self._wanted = 0
        self._asked = 0.0
        self._take: Take | None = None
        self._trouble: Exception | None = None
        self._transport = wire.hand_over(self)

    @property
    def waits(self) -> bool:
        """Whether answers are to come; nothing may be asked then."""
        return self._wanted > 0

    def ask(self, commands: Sequence[Command], take: Take) -> None:
        """Send commands, and call `take` with their answers, none of which is a refusal."""
        self._wanted, self._take, self._asked = len(commands), take, self._clock()
        self._transport.write(b"".join(map(packed, commands)))

    def check(self) -> None:
        """Raises what went wrong since: a `WireError`, or what `take` raised."""
        if self._trouble is not None:
            raise self._trouble
        if self.waits and self._clock() - self._asked > LIMIT_SECS:
            raise WireError(f"Timeout: no answer within {LIMIT_SECS:g} s")

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._trouble is not None:
            return
        try:
            self._got += self._replies.feed(data)
            if self._got and len(self._got) >= self._wanted:
                self._hand_on()
        except ValueError as error:
            self._fail(self._wire.trouble(error))
        except Exception as error:
            self._fail(error)

    def _hand_on(self) -> None:
        answers, take = self._got, self._take
        wanted, self._got, self._wanted, self._take = self._wanted, [], 0, None
        if take is None or len(answers) > wanted:
            raise ValueError("an answer to nothing that was asked")
        refusal = next((answer for answer in answers if isinstance(answer, str)), None)
        if refusal is not None:
            raise ValueError(refusal)
        take(answers)

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended."""
        if self._trouble is None:
            self._trouble = self._wire.trouble(error or "Connection closed by server.")

    def end(self) -> None:
        """Nothing is taken any more."""
        self._fail(self._wire.trouble("ended"))

    def _fail(self, trouble: Exception) -> None:
        self._trouble, self._take = trouble, None


def packed(command: Command) -> bytes:
    """A command as the server reads it."""
    parts = [b"*%d\r\n" % len(command)]
    for word in command:
        part = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(part), part))
    return b"".join(parts)


def place_of(identifier: bytes) -> tuple[int, int]:
    """An entry's (millisecond, number in it) as the server counted them."""
    first, _, second = identifier.partition(b"-")
    return (int(first), int(second)) if first.isdigit() and second.isdigit() else (0, 0)
