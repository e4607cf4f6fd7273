"""Parts of the extension as the router makes them, with the defaults of the configuration."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from fd_router._core import Relay
from fd_router.config import ManagerConfig, SchedulerConfig, UpstreamConfig
from fd_router.routing.scheduling import new_scheduler

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Mapping

    from fd_router._core import Journal, Lease, Request, Scheduler
    from fd_router.routing.scheduling import Recorded
    from fd_router.types import Role


def scheduler(
    policies: Mapping[Any, str],
    *,
    journal: Journal | None = None,
    record: Recorded | None = None,
    replica: str | None = None,
    **settings: Any,
) -> Scheduler:
    """A scheduler; `settings` are those of `SchedulerConfig` that differ from the default."""
    return new_scheduler(
        replace(SchedulerConfig(), **settings),
        policies,
        metrics_interval_secs=ManagerConfig().metrics_interval_secs,
        seed=0,
        journal=journal,
        record=record,
        replica=replica,
    )


def book(scheduler: Scheduler, role: Role, request: Request, **more: Any) -> Lease:
    """What `Scheduler.select` books for a role that has a worker."""
    lease = scheduler.select(role, request, **more)
    assert lease is not None
    return lease


def relay(loop: AbstractEventLoop, **arguments: Any) -> Relay:
    """A relay, not yet attached to its loop; `arguments` are those of `Relay` that differ from the default."""
    settings = asdict(UpstreamConfig())
    # How often a request is sent is not the relay's to know.
    for key in ("attempts", "pair_attempts", "retry_statuses"):
        del settings[key]
    settings["ca_file"] = settings["ca_file"] or None
    return Relay(loop, **settings | {"hop": "router-1"} | arguments)
