"""The periodic `[stats]` line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fd_router._core import Scheduler
    from fd_router.observe.logs import Log
    from fd_router.types import Role


class Stats:
    """Writes the line; remembers the session counters of the line before."""

    def __init__(self, scheduler: Scheduler, log: Log) -> None:
        self._scheduler = scheduler
        self._log = log
        self._told = (0, 0)

    async def round(self, _late: float) -> None:
        """One line, also when nothing happened."""
        hits, total = self._scheduler.sessions()
        hits_before, total_before = self._told
        self._told = (hits, total)
        self._log.info(stats_line(self._scheduler.loads(), hits - hits_before, total - total_before))


def stats_line(loads: Iterable[tuple[str, Role, int, int]], hits: int, total: int) -> str:
    """`[stats] total_running=<n>, workers: [<url>: running=<n>, ...], cache_hit_rate=<x.xx>% (hits=<h>/total=<t>)`.

    `loads` as `Scheduler.loads` gives them; `hits` and `total` are session stickiness since the last line.
    """
    running = [(url, count) for url, _, count, _ in loads]
    workers = ", ".join(f"{url}: running={count}" for url, count in running)
    rate = 100.0 * hits / total if total else 0.0
    total_running = sum(count for _, count in running)
    return (
        f"[stats] total_running={total_running}, workers: [{workers}],"
        f" cache_hit_rate={rate:.2f}% (hits={hits}/total={total})"
    )
