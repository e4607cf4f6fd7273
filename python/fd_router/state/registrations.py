"""Registrations that outlive the process that took them.

What is kept are the workers that are in service or on probation, in the words in which they registered: they come back
through the same checks and the same gate, so a file that somebody wrote by hand is no other door.
"""

from __future__ import annotations

import asyncio
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
PAUSE_SECS = 0.1
"""Between two writings: a storm of registrations is not written one by one."""


def encode(instances: list[Instance]) -> bytes:
    """Instances as bodies of `POST /register`."""
    return orjson.dumps({"version": 1, "workers": [to_body(instance) for instance in instances]})


def decode(data: bytes) -> list[Any]:
    """The bodies. Raises `ValueError` for what `encode` does not write."""
    document = orjson.loads(data)
    match document:
        case {"version": 1, "workers": [*workers]}:
            return workers
        case _:
            raise ValueError("not a list of workers of version 1")


class Registrations:
    """Writes what `watched` says after each `changed`, beside the loop. Nothing is written before `begin`."""

    def __init__(self, store: Store, watched: Callable[[], list[Instance]], log: Log) -> None:
        self._store = store
        self._watched = watched
        self._log = log
        self._begun = False
        self._changed = False
        self._failing = False
        self._task: asyncio.Task[None] | None = None

    def load(self) -> list[Any]:
        """What a process before this one kept; trouble is logged."""
        try:
            data = self._store.read()
            return decode(data) if data is not None else []
        except (OSError, ValueError) as error:
            self._log.error(messages.state_unread(error))
            return []

    def begin(self) -> None:
        """Everybody who was kept is known again: from now on what is known now is what is kept."""
        self._begun = True
        if self._changed:
            self.changed()

    def changed(self) -> None:
        """A worker came, went, or says something else of itself."""
        self._changed = True
        if self._begun and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while self._changed:
            self._changed = False
            await loop.run_in_executor(None, self._write, encode(self._watched()))
            await asyncio.sleep(PAUSE_SECS)

    def _write(self, data: bytes) -> None:
        try:
            self._store.write(data)
        except OSError as error:
            if not self._failing:
                self._log.error(messages.state_unwritten(error))
            self._failing = True
        else:
            self._failing = False

    async def close(self) -> None:
        """Write what has changed, once more, and end."""
        if self._task is not None:
            # It may be at its pause; what it has begun to write is not to be mixed with what follows.
            await self._task
        if self._begun and self._changed:
            self._write(encode(self._watched()))
