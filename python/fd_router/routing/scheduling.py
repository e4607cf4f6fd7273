"""From the configuration to the scheduler of the extension."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypedDict

from fd_router._core import Scheduler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fd_router._core import Answers, Journal
    from fd_router.config import SchedulerConfig
    from fd_router.types import Role

Recorded: TypeAlias = tuple[str, int, int]
"""Path of a recording, bytes of a file of it, files."""


class Arguments(TypedDict):
    """What `Scheduler` takes, but for where it writes to."""

    policies: Mapping[Role, str]
    block_size: int
    cache_max_bytes: int
    eviction_secs: float
    balance_abs_threshold: float
    balance_rel_threshold: float
    hit_ratio_weight: float
    load_balance_weight: float
    waiting_weight: float
    metrics_max_age_secs: float
    copy_cost: float
    base_running: float
    seed: int


def arguments(
    settings: SchedulerConfig, policies: Mapping[Role, str], *, metrics_interval_secs: float, seed: int
) -> Arguments:
    """A scheduler's arguments.

    An engine's own counts are used for three of the intervals in which it is asked: two answers may be missed.
    """
    return Arguments(
        policies=policies,
        block_size=settings.cache_block_size,
        cache_max_bytes=settings.cache_max_memory_mb << 20,
        eviction_secs=settings.eviction_duration_mins * 60,
        balance_abs_threshold=settings.balance_abs_threshold,
        balance_rel_threshold=settings.balance_rel_threshold,
        hit_ratio_weight=settings.hit_ratio_weight,
        load_balance_weight=settings.load_balance_weight,
        waiting_weight=settings.waiting_weight,
        metrics_max_age_secs=3 * metrics_interval_secs,
        copy_cost=settings.copy_cost,
        base_running=settings.base_running,
        seed=seed,
    )


def new_scheduler(
    settings: SchedulerConfig,
    policies: Mapping[Role, str],
    *,
    metrics_interval_secs: float,
    seed: int,
    journal: Journal | None = None,
    record: Recorded | None = None,
    replica: str | None = None,
    answers: Answers | None = None,
) -> Scheduler:
    """A scheduler without workers that serves the roles of `policies` and logs to `journal`; see `Scheduler`."""
    taken = arguments(settings, policies, metrics_interval_secs=metrics_interval_secs, seed=seed)
    return Scheduler(**taken, journal=journal, record=record, replica=replica, answers=answers)
