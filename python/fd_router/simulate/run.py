"""One trace with one policy after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fd_router import _core
from fd_router.config import SchedulerConfig, load_config
from fd_router.routing.scheduling import arguments
from fd_router.simulate.options import DEFAULT_POLICIES, RECORDED
from fd_router.simulate.trace_file import SimulationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fd_router._core import Replay, Simulation, Trace
    from fd_router.simulate.options import Options
    from fd_router.simulate.trace_file import TraceFile
    from fd_router.types import Role

AS_RECORDED = "as recorded"
"""Stands for the policies that a recording was made with."""

METRICS_INTERVAL_SECS = 1.0
"""Of no effect: simulated engines are not asked for their metrics."""


class Lab:
    """Everything that the runs of one command share."""

    def __init__(self, options: Options) -> None:
        """Reads the configuration. Raises `ConfigError`."""
        self._options = options
        self._settings: SchedulerConfig | None = None
        if options.config_path is not None:
            # No port is opened, but a file without one is refused.
            config, _ = load_config(options.config_path, port="1", splitwise=False)
            self._settings = config.scheduler

    def policies(self) -> list[str]:
        """Those to be compared, each once."""
        options, settings = self._options, self._settings
        if options.policy:
            return list(dict.fromkeys(options.policy))
        if options.engine == RECORDED:
            return [AS_RECORDED]
        if settings:
            return [settings.policy if options.prefill is None else settings.prefill_policy]
        return list(DEFAULT_POLICIES)

    def cache_blocks(self, trace: Trace) -> int:
        """Blocks of the trace that an engine caches."""
        return self._options.cache_blocks or max(1, _core.CACHE_TOKENS // trace.block_size)

    def simulations(
        self, trace: Trace, progress: Callable[[str, int], None]
    ) -> Iterator[tuple[str, Simulation]]:
        """A run for each policy, with its name; `progress` is told it, and requests that are over."""
        options = self._options
        settings = self._settings or SchedulerConfig()
        workers = options.workers if options.prefill is None else options.prefill
        for policy in self.policies():
            roles: dict[Role, str] = {
                "mixed": policy,
                "prefill": policy,
                "decode": settings.decode_policy,
            }

            def over(requests: int, policy: str = policy) -> None:
                progress(policy, requests)

            yield (
                policy,
                _core.simulate(
                    trace,
                    arguments(
                        settings,
                        roles,
                        metrics_interval_secs=METRICS_INTERVAL_SECS,
                        seed=options.seed,
                    ),
                    engine=options.engine,
                    workers=workers,
                    decode_workers=options.decode or 0,
                    cache_blocks=self.cache_blocks(trace),
                    routers=options.routers,
                    staleness_ms=options.staleness_ms,
                    progress=over,
                ),
            )

    def replays(self, file: TraceFile) -> Iterator[tuple[str, Replay]]:
        """A replay for each policy, with its name. Raises `SimulationError`."""
        if not file.recorded:
            raise SimulationError(f"{file.path}: --engine recorded needs a recording of a router")
        settings = self._settings
        roles: tuple[Role, ...] = ("mixed", "prefill")
        for policy in self.policies():
            try:
                replay = _core.replay(
                    file.path,
                    policies=[] if policy == AS_RECORDED else [(role, policy) for role in roles],
                    copy_cost=settings.copy_cost if settings else None,
                    base_running=settings.base_running if settings else None,
                )
            except ValueError as error:
                raise SimulationError(str(error)) from error
            yield policy, replay
