"""Registrations that outlive the process that took them, and what operators ordered of workers.

What is kept are the workers that are in service or on probation, in the words in which they registered: they come back
through the same checks and the same gate, so a file that somebody wrote by hand is no other door. Those of the register
file are named there.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from fd_router.fleet.registration import to_body
from fd_router.observe.logs import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router.observe.logs import Log
    from fd_router.state.store import Store
    from fd_router.types import Instance

FILE_NAME = "registrations.json"
UNKEPT = "registrations cannot be kept"
PAUSE_SECS = 0.1
"""Between two writings: a storm of registrations is not written one by one."""
AGAIN_SECS = 5.0
"""After one that failed: what could not be kept is kept once it can be, whether or not anything else changes."""


def encode(instances: list[Instance], orders: dict[str, Any]) -> bytes:
    """Instances as bodies of `POST /register`, and orders by url."""
    workers = [to_body(instance) for instance in instances]
    return orjson.dumps({"version": 1, "workers": workers, "orders": orders})


def decode(data: bytes) -> tuple[list[Any], dict[str, Any]]:
    """The bodies, and the orders; none where a version before this one wrote it.

    Raises `ValueError` for what `encode` does not write.
    """
    document = orjson.loads(data)
    match document:
        case {"version": 1, "workers": [*workers], "orders": dict() as orders}:
            return workers, orders
        case {"version": 1, "workers": [*workers]}:
            return workers, {}
        case _:
            raise ValueError("not a list of workers of version 1")


class Registrations:
    """Writes what is to be kept after each `changed`, beside the loop. Nothing is written before `begin`."""

    def __init__(
        self,
        store: Store,
        registered: Callable[[], list[Instance]],
        orders: Callable[[], dict[str, Any]],
        log: Log,
    ) -> None:
        self._store = store
        self._registered = registered
        self._orders = orders
        self._log = log
        self._begun = False
        self._changed = False
        self._ends = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def load(self) -> tuple[list[Any], dict[str, Any]]:
        """What a process before this one kept, as `decode` has it; trouble is logged."""
        try:
            data = self._store.read()
            return decode(data) if data is not None else ([], {})
        except (OSError, ValueError) as error:
            self._log.error(messages.state_unread(error))
            return [], {}

    def begin(self) -> None:
        """Everybody who was kept is known again: from now on what is known now is what is kept."""
        self._begun = True
        if self._changed:
            self.changed()

    def changed(self) -> None:
        """A worker came, went, or says something else of itself, or something else is ordered."""
        self._changed = True
        if self._begun and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        while self._changed and not self._ends.is_set():
            pause = PAUSE_SECS if await self._write() else AGAIN_SECS
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ends.wait(), pause)

    def _encoded(self) -> bytes:
        return encode(self._registered(), self._orders())

    async def _write(self) -> bool:
        """Returns whether it went well."""
        self._changed = False
        try:
            # Not here: a disk may hang.
            await asyncio.to_thread(self._store.write, self._encoded())
        except OSError as error:
            self._changed = True
            if self._log.lasting.met(UNKEPT, cause=str(error.errno)):
                self._log.error(messages.state_unwritten(error))
            return False
        self._log.lasting.over(UNKEPT)
        return True

    async def close(self) -> None:
        """Write what has changed, once more, and end."""
        self._ends.set()
        if self._task is not None:
            # What it has begun to write is not to be mixed with what follows.
            await self._task
        if self._begun and self._changed:
            await self._write()
