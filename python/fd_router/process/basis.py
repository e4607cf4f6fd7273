"""What every part of the service is built on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router._core import Scheduler
    from fd_router.config import Config
    from fd_router.observe.logs import Log
    from fd_router.observe.metrics import Metrics
    from fd_router.observe.tracing import Tracing
    from fd_router.types import Role
    from fd_router.upstream.relay import Upstream
    from fd_router.upstream.trust import Trust


@dataclass(slots=True)
class Basis:
    """The configuration that is in force, and what nearly everybody needs."""

    config: Config
    log: Log
    metrics: Metrics
    scheduler: Scheduler
    upstream: Upstream
    trust: Trust
    replica: str
    """This router's name among those of its cluster."""
    tracing: Tracing | None = None
    """None where requests are not traced."""
    clock: Callable[[], float] = time.monotonic
    _following: list[Callable[[Config], object]] = field(default_factory=list)

    def follow(self, apply: Callable[[Config], object]) -> None:
        """Have a part told of the configuration that is in force after a reload."""
        self._following.append(apply)

    def reconfigure(self, config: Config) -> None:
        """Go by another configuration, of which only live keys differ."""
        for apply in self._following:
            apply(config)
        self.config = config


def policies_of(config: Config) -> dict[Role, str]:
    """The policy of each role that is served."""
    settings = config.scheduler
    if config.server.splitwise:
        return {"prefill": settings.prefill_policy, "decode": settings.decode_policy}
    return {"mixed": settings.policy}
