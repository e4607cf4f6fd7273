"""A reload: the configuration is read again, and what is new in it is taken over while everything goes on.

| What is read | What follows |
|---|---|
| what `--check` calls an ERROR, or what would not start | nothing changes: an ERROR line, and 400 for `POST /reload` |
| a live key with a new value | it is in force at once, for requests that come from now on |
| any other key with a new value | it waits for a restart: a WARN line names it |
| the file of `manager.register-path` | it is looked at at once, as it is every two seconds |

Counters, prefix tree, connections and streams are not touched. What the command line says goes before the file, as it
does at the start.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from fd_router.config import changes
from fd_router.errors import ConfigError, ReloadError
from fd_router.observe.logs import messages
from fd_router.process.check import findings

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router.config import Config, Notice
    from fd_router.observe.logs import Log
    from fd_router.process.in_force import InForce

Load: TypeAlias = "Callable[[], tuple[Config, list[Notice]]]"
"""Reads the configuration as the start did. Raises `ConfigError`."""

WANTED = 2
"""Reloads that signals may ask for at a time: one that is at it, and one that reads what was written since."""


class Reloading:
    """Takes the configuration over into the running service, one reload at a time. Lives in one event loop."""

    def __init__(
        self,
        load: Load,
        in_force: InForce,
        *,
        apply: Callable[[Config], None],
        log: Log,
    ) -> None:
        """`apply` makes the parts go by a configuration."""
        self._load = load
        self._in_force = in_force
        self._apply = apply
        self._log = log
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def reload(self) -> dict[str, Any]:
        """Reload once. Returns `changed` and `restart`, the keys with a new value. Raises `ReloadError`."""
        async with self._turn:
            try:
                wanted, notices = await asyncio.to_thread(self._read)
            except ConfigError as error:
                self._log.error(messages.reload_refused(error))
                raise ReloadError(f"the configuration in force stays: {error}") from error
            found = changes(self._in_force.get(), wanted)
            self._in_force.set(found.config)
            self._apply(found.config)
            for notice in notices:
                self._log.warn(messages.config_notice(notice.message))
            if found.restart:
                self._log.warn(messages.restart_needed(found.restart))
            self._log.info(messages.reloaded(found.live))
            return {"changed": found.live, "restart": found.restart}

    def _read(self) -> tuple[Config, list[Notice]]:
        """For another thread than the loop's. Raises `ConfigError` for what `--check` calls an ERROR, all in one go."""
        config, notices = self._load()
        errors = [found.message for found in findings(config, notices) if found.level == "ERROR"]
        if errors:
            raise ConfigError("; ".join(errors))
        return config, notices

    def ask(self) -> None:
        """Reload soon, as a signal wants it. One that comes while another waits for its turn is served by that."""
        if len(self._tasks) < WANTED:
            task = asyncio.get_running_loop().create_task(self._by_signal())
            self._tasks.add(task)
            task.add_done_callback(self._over)

    async def _by_signal(self) -> None:
        with suppress(ReloadError):  # it was told in the log
            await self.reload()

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error(messages.panic(error))

    async def stop(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
