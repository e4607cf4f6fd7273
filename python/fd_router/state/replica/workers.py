"""Registrations on the board: what an engine said of itself to one replica, let in by all of them.

| here | on the board |
|---|---|
| a worker registers, or the register file names it, in other words than before | the words |
| a worker is unregistered | it is gone: it leaves everywhere, whoever knew it from where |
| the register file names it no more | it is dropped: it leaves where it neither registered nor stands in a file |
| a worker is lost, ejected, forgotten | nothing: probes and conduct are each replica's own |

An engine that goes on registering with whom it will comes back by that, as with one router. A worker that is on the
board and not here passes the same checks and the same gate as a registration, again with each full reading while it
fails. Every replica in whose service it is keeps it on the board: who it registered with may die.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from fd_router.errors import RegistrationError
from fd_router.fleet.registration import to_body
from fd_router.observe.logs import messages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fd_router.fleet.admission import Admission
    from fd_router.fleet.membership import Membership
    from fd_router.observe.logs import Log
    from fd_router.state.replica.board import Board, Value
    from fd_router.types import Instance

KIND = "worker "
"""What names of the board begin with."""
DROPPED: dict[str, Any] = {"dropped": True}


class SharedWorkers:
    """Between the board and the fleet."""

    def __init__(self, board: Board, members: Membership, admission: Admission, log: Log) -> None:
        self._board = board
        self._members = members
        self._admission = admission
        self._log = log
        self._said: dict[str, Value] = {}
        """What was said here last, by url: an engine that repeats itself says nothing new."""
        self._troubles: dict[str, str] = {}
        """Why one was not let in, by url, so that it is said once."""
        self._admitting: dict[str, asyncio.Task[None]] = {}

    # ---- what happens here

    def registered(self, instance: Instance) -> None:
        """A worker was let in that registered here, or that the register file names."""
        url, body = instance.url, _plain(to_body(instance))
        there = self._board.value(KIND + url)
        if there != body and (self._said.get(url) != body or _is_gone(there)):
            self._board.say(KIND + url, body)
        self._said[url] = body

    def unregistered(self, url: str) -> None:
        """A worker left on request."""
        self._said.pop(url, None)
        self._board.say(KIND + url, None)

    def dropped(self, url: str) -> None:
        """The register file does not name a worker any more, and it left."""
        self._said.pop(url, None)
        self._board.say(KIND + url, DROPPED)

    def alive(self, url: str) -> bool:
        """Whether it is in service here."""
        return url in self._members.registry

    # ---- what others say

    def take(self, urls: Iterable[str], *, full: bool) -> None:
        """Something was said of these; after a full reading those that are missing here have another try."""
        for url in urls:
            value = self._board.value(KIND + url)
            if not _is_gone(value):
                self._admit(url)
            else:
                if url in self._admitting:
                    self._admitting[url].cancel()
                if value is None:
                    self._admission.left(url)
                else:
                    self._stay_or_leave(url)
        if full:
            self._said = {url: said for url, said in self._said.items() if self._members.knows(url)}
            self._look_at_ours()
            self._look_at_missing()

    def _look_at_ours(self) -> None:
        """Say of whom the board knows nothing: a process before this one let them in, or they came up since."""
        for instance in self._members.registry.all():
            url = instance.url
            name = KIND + url
            if not self._board.knows(name):
                self._board.say(name, _plain(to_body(instance)))
            elif (value := self._board.value(name)) is None and self._members.source(url) != "file":
                self._admission.left(url)
            elif _is_gone(value):
                self._stay_or_leave(url)

    def _look_at_missing(self) -> None:
        """Let in whom the board has and this replica has not, once more."""
        listed = [name.removeprefix(KIND) for name in self._board.names() if name.startswith(KIND)]
        missing = [url for url in listed if not self._members.knows(url)]
        self._troubles = {url: self._troubles[url] for url in missing if url in self._troubles}
        self.look_again(missing)

    def look_again(self, urls: Iterable[str]) -> None:
        """Let in whom of these the board has and this replica has not: what was ordered of them is another now."""
        for url in urls:
            if not self._members.knows(url):
                self._admit(url)

    def _stay_or_leave(self, url: str) -> None:
        """Elsewhere it is dropped, or unregistered; here a file may name it, or it may have registered."""
        instance = self._members.get(url)
        if instance is None:
            return
        if self._members.source(url) == "cluster":
            self._admission.left(url)
        else:
            self._board.say(KIND + url, _plain(to_body(instance)))

    def _admit(self, url: str) -> None:
        # Who is at the gate already may have older words: the next full reading finds out, where that matters.
        if not _is_gone(self._board.value(KIND + url)) and url not in self._admitting:
            task = asyncio.get_running_loop().create_task(self._let_in(url))
            self._admitting[url] = task
            # Not at its end in there: one that is cancelled before it begins never comes to it.
            task.add_done_callback(lambda _: self._admitting.pop(url, None))

    async def _let_in(self, url: str) -> None:
        value = self._board.value(KIND + url)
        # Its order may have ended because it is unregistered, which is said only then.
        if _is_gone(value):
            return
        try:
            await self._admission.admit_of_cluster(url, value)
            self._troubles.pop(url, None)
        except RegistrationError as error:
            # Removed by order, which is nobody's mistake.
            if error.status != 409 and self._troubles.get(url) != str(error):
                self._log.error(messages.cluster_refused(url, error))
            self._troubles[url] = str(error)
        except Exception as error:
            self._log.error(messages.panic(error))

    def at_gate(self) -> bool:
        """Whether some are about to be let in."""
        return bool(self._admitting)

    async def close(self) -> None:
        """Let nobody in any more."""
        tasks = [*self._admitting.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_gone(value: Value) -> bool:
    return value is None or value == DROPPED


def _plain(value: Any) -> Any:
    """As it comes back from JSON."""
    return orjson.loads(orjson.dumps(value))
