"""`fd-router simulate` from its arguments to its exit code."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fd_router.errors import ConfigError
from fd_router.simulate import options as command_line
from fd_router.simulate import plot, report
from fd_router.simulate.progress import Progress
from fd_router.simulate.run import Lab
from fd_router.simulate.trace_file import SimulationError, TraceFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fd_router._core import Simulation, Trace
    from fd_router.simulate.options import Options


def main(arguments: Sequence[str]) -> None:
    """Do what the command line asks for. Exits 1 (nothing to simulate, or nowhere to write) or 2 (usage)."""
    options = command_line.parse(arguments)
    # Nothing has to be cleaned up, and a run is not to be waited for.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        _run(options)
    except (SimulationError, ConfigError) as error:
        sys.exit(f"fd-router simulate: {error}")
    except OSError as error:
        sys.exit(f"fd-router simulate: {error.filename}: {(error.strerror or str(error)).lower()}")


def _run(options: Options) -> None:
    recorded = options.engine == command_line.RECORDED
    if options.plot and recorded:
        raise SimulationError("--plot: a recording that is played again has nothing to draw")
    if options.plot:
        plot.need_matplotlib()
    lab = Lab(options)
    # All are read first: what is wrong with the last one shows before the first has taken its time.
    files = [TraceFile(path) for path in dict.fromkeys(options.traces)]
    output = _Output(quiet=options.json == "-")
    if recorded:
        for file in files:
            _replay(lab, file, output)
    else:
        traces = [_trace(file, options) for file in files]
        results = {
            file.path: _simulate(lab, file.path, trace, options, output)
            for file, trace in zip(files, traces, strict=True)
        }
        if options.plot:
            plot.draw({Path(path).name: runs for path, runs in results.items()}, options.plot)
    if options.json is not None:
        output.write_json(options)


def _trace(file: TraceFile, options: Options) -> Trace:
    return file.trace(
        block_size=options.block_size,
        output_tokens=options.output_tokens,
        sessions=options.sessions,
        speed=options.speed,
    )


def _simulate(lab: Lab, path: str, trace: Trace, options: Options, output: _Output) -> dict[str, Simulation]:
    progress = Progress(sys.stderr)
    name = Path(path).name
    results = dict(
        lab.simulations(trace, lambda policy, done: progress.show(f"{name}, {policy}", done, trace.requests))
    )
    progress.clear()
    blocks = lab.cache_blocks(trace)
    output.add(
        f"{path}: {trace.requests} requests, {_fleet(options)}, {blocks} blocks of {trace.block_size} tokens; ms",
        report.table(report.SIMULATED, [report.simulated_row(*item) for item in results.items()]),
        {
            "trace": path,
            "block_size": trace.block_size,
            "cache_blocks": blocks,
            "runs": [report.simulated_values(*item) for item in results.items()],
        },
    )
    return results


def _fleet(options: Options) -> str:
    count = options.workers if options.prefill is None else f"{options.prefill} + {options.decode}"
    engines = f"{count} engines {options.engine}"
    if options.routers == 1:
        return engines
    return f"{engines}, {options.routers} routers {options.staleness_ms} ms apart"


def _replay(lab: Lab, file: TraceFile, output: _Output) -> None:
    results = list(lab.replays(file))
    output.add(
        f"{file.path}: played again",
        report.table(report.REPLAYED, [report.replayed_row(*item) for item in results]),
        {"trace": file.path, "runs": [report.replayed_values(*item) for item in results]},
    )


class _Output:
    """Tables as they come, and values for the end."""

    def __init__(self, *, quiet: bool) -> None:
        """`quiet`: no tables."""
        self._quiet = quiet
        self._traces: list[dict[str, Any]] = []

    def add(self, title: str, table: str, values: dict[str, Any]) -> None:
        if not self._quiet:
            print(f"{chr(10) if self._traces else ''}{title}\n{table}", end="", flush=True)
        self._traces.append(values)

    def write_json(self, options: Options) -> None:
        """Everything that led to the results, and the results."""
        asked = {"engine": options.engine, "seed": options.seed, "speed": options.speed}
        if options.routers > 1:
            asked |= {"routers": options.routers, "staleness_ms": options.staleness_ms}
        pools = (
            {"workers": options.workers}
            if options.prefill is None
            else {"prefill": options.prefill, "decode": options.decode}
        )
        if options.engine == command_line.RECORDED:
            asked, pools = {"engine": options.engine}, {}
        text = json.dumps({**asked, **pools, "traces": self._traces}, indent=2) + "\n"
        if options.json == "-":
            sys.stdout.write(text)
        elif options.json is not None:
            Path(options.json).write_text(text)
