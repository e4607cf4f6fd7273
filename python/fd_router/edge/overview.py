"""What there is and how it does, for scripts and for the page: every worker, and above them the fleet at a glance."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fd_router import __version__
from fd_router.fleet.rows import hit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fd_router._core import Scheduler
    from fd_router.downstream.client import Client
    from fd_router.edge.overload import Overload
    from fd_router.fleet.rows import Row, Rows
    from fd_router.observe.metrics import Metrics
    from fd_router.observe.metrics.metrics import Answered
    from fd_router.observe.pulse import Pulse
    from fd_router.types import Role


PIECE = 64
"""Rows that are made at a time: with 128 first bytes of each to sort, that is a millisecond."""


@dataclass(frozen=True, slots=True)
class Told:
    """What of the configuration is shown."""

    fingerprint: str
    policies: Mapping[Role, str]
    """Of each role that is served, as configured."""
    max_in_flight: int
    """0 is no limit."""
    tree_bytes: int
    """What the prefix tree may take."""


class Overview:
    """Answers `/workers` and `/status`."""

    def __init__(
        self,
        told: Told,
        *,
        rows: Rows,
        pulse: Pulse,
        metrics: Metrics,
        overload: Overload,
        scheduler: Scheduler,
        missing: Callable[[], str | None],
        cluster: Callable[[], dict[str, Any]] | None,
    ) -> None:
        """`missing` says why a request could not be served now; None where it could.

        `cluster` says how it is with other replicas, where there are any.
        """
        self.reconfigure(told)
        self._rows = rows
        self._pulse = pulse
        self._metrics = metrics
        self._overload = overload
        self._scheduler = scheduler
        self._missing = missing
        self._cluster = cluster
        self._started = time.time()

    def reconfigure(self, told: Told) -> None:
        """Show another configuration."""
        self._told = told

    async def workers(self, client: Client) -> None:
        """`GET /workers`."""
        await client.answer_json(200, {"workers": await self._every(self._metrics.answered())})

    async def status(self, client: Client) -> None:
        """`GET /status`."""
        told = self._told
        answered = self._metrics.answered()
        truth = self._scheduler.truth()
        per_second, failed_per_second, prompt_per_second, cached_per_second = self._pulse.rates(
            (answered.total, answered.failed, truth.prompt, truth.cached)
        )
        workers = await self._every(answered)
        await client.answer_json(
            200,
            {
                "version": __version__,
                "config": told.fingerprint,
                "started": round(self._started, 3),
                "now": round(time.time(), 3),
                "pd": "mixed" not in told.policies,
                "policies": told.policies,
                "not_ready": self._missing(),
                "requests": {
                    **self._requests(answered),
                    "answers_per_second": per_second,
                    "failed_per_second": failed_per_second,
                },
                "tokens": {
                    "prompt_per_second": prompt_per_second,
                    "cached_per_second": cached_per_second,
                },
                "hit": hit(truth),
                "tree": self._tree(),
                "cluster": self._cluster() if self._cluster is not None else None,
                "rejects": self._metrics.rejects(),
                "states": self._rows.counts(),
                "workers": workers,
            },
        )

    async def _every(self, answered: Answered) -> list[Row]:
        """All rows, made in pieces, between which others are served."""
        rows = []
        for count, row in enumerate(self._rows.each(answered), 1):
            rows.append(row)
            if count % PIECE == 0:
                await asyncio.sleep(0)
        return rows

    def _requests(self, answered: Answered) -> dict[str, Any]:
        return {
            "served": self._overload.in_flight,
            "waiting": self._overload.waiting,
            "limit": self._told.max_in_flight or None,
            "body_bytes": self._overload.body_bytes,
            "answers": answered.total,
            "failed": answered.failed,
        }

    def _tree(self) -> dict[str, int]:
        tree = self._scheduler.tree()
        return {
            "blocks": tree.blocks,
            "bytes": tree.bytes,
            "limit_bytes": self._told.tree_bytes,
            "evicted": tree.evicted,
            "expired": tree.expired,
        }
