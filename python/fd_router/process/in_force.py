"""The configuration that a router goes by: that of its start, until a reload brings another."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from fd_router.config import Config
    from fd_router.state.store import MemoryStore


class InForce:
    """Kept in memory that outlives the worker process, so that the next one goes on with what was in force.

    To be made in the supervisor.
    """

    def __init__(self, config: Config, memory: MemoryStore) -> None:
        self._start = config
        self._memory = memory

    def get(self) -> Config:
        """What is in force."""
        kept = self._memory.read()
        # Nobody but a worker of this router writes there.
        return self._start if kept is None else cast("Config", pickle.loads(kept))

    def set(self, config: Config) -> None:
        """From now on another one is. Raises `OSError`, and then none is."""
        self._memory.write(pickle.dumps(config))
