"""How results of simulations look, and what stands beside them on a terminal."""

from __future__ import annotations

import io

from fd_router._core import Trace, simulate
from fd_router.config import SchedulerConfig
from fd_router.routing.scheduling import arguments
from fd_router.simulate import report
from fd_router.simulate.progress import WIDTH, Progress
from fd_router.simulate.run import METRICS_INTERVAL_SECS

ROW = '{"timestamp": 0, "input_length": 512, "output_length": 3, "hash_ids": [1]}\n'


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_columns_are_aligned() -> None:
    text = report.table(("policy", "hit"), [("least_work", "4.0%"), ("random", "12.0%")])
    assert text == "policy        hit\nleast_work   4.0%\nrandom      12.0%\n"


def test_a_policy_without_an_opinion_shows_none() -> None:
    settings = arguments(
        SchedulerConfig(), {"mixed": "random"}, metrics_interval_secs=METRICS_INTERVAL_SECS, seed=0
    )
    told: list[int] = []
    trace = Trace.mooncake(ROW * 3, 512, "trace")
    result = simulate(trace, settings, engine="serial", workers=2, cache_blocks=8, progress=told.append)
    assert told == [1, 2, 3]
    shown = dict(zip(report.SIMULATED, report.simulated_row("random", result), strict=True))
    assert (shown["policy"], shown["predicted"], shown["errors"]) == ("random", "-", "0")
    # 1 ms a prompt and 60 ms a block, then 10 ms for each token.
    assert result.first_tokens[0] == 61
    assert shown["token mean"] == "10.0"


def test_progress_is_for_terminals() -> None:
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        progress = Progress(stream)
        progress.show("trace, random", 50, 100)
        progress.clear()
    assert file.getvalue() == ""
    assert f"[{'#' * (WIDTH // 2)}{'.' * (WIDTH // 2)}]  50% trace, random" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")
