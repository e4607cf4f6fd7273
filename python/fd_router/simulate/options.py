"""The command line of `fd-router simulate`."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from fd_router._core import CACHE_TOKENS, ENGINES, MAX_ROUTERS, POLICIES

if TYPE_CHECKING:
    from collections.abc import Sequence

RECORDED = "recorded"
"""The engine profile that is none: what a recording's engines did, when they did it."""

MAX_WORKERS = 4_096
MAX_CACHE_BLOCKS = 1 << 32
MAX_SESSIONS = 10_000
MAX_STALENESS_MS = 3_600_000
MIN_SPEED = 0.001
MAX_SPEED = 1_000
DEFAULT_POLICIES = ("request_num", "cache_aware", "least_work")


class Options(argparse.Namespace):
    """What the command line asks for."""

    traces: list[str]
    policy: list[str] | None
    workers: int
    prefill: int | None
    decode: int | None
    routers: int
    staleness_ms: int
    engine: str
    cache_blocks: int | None
    block_size: int
    output_tokens: int
    sessions: int | None
    speed: float
    config_path: str | None
    seed: int
    json: str | None
    plot: str | None


def parse(arguments: Sequence[str]) -> Options:
    """Read what stands behind `simulate`. Exits with 2 and a message where it cannot be read, with 0 after `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments, Options())
    if (options.prefill is None) != (options.decode is None):
        parser.error("--prefill and --decode: one needs the other")
    if options.engine == RECORDED and options.prefill is not None:
        parser.error(
            "--engine recorded: a recording has its own workers, --prefill and --decode do not go with it"
        )
    if options.engine == RECORDED and options.routers > 1:
        parser.error("--engine recorded: a recording is of one router, --routers does not go with it")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fd-router simulate",
        description="Run traces through the router's scheduler and engines in virtual time.",
        allow_abbrev=False,
    )
    policies = [policy.name for policy in POLICIES]
    add = parser.add_argument
    add(
        "traces",
        nargs="+",
        metavar="TRACE",
        help="JSON lines of Mooncake's or of agents' calls, perhaps .gz, or a recording of a router",
    )
    add(
        "--policy",
        action="append",
        choices=policies,
        metavar="P",
        help=f"may be repeated; default: {', '.join(DEFAULT_POLICIES)}, or the file's. One of {', '.join(policies)}",
    )
    add("--workers", type=_Whole(1, MAX_WORKERS), default=8, metavar="N", help="engines (%(default)s)")
    add(
        "--prefill",
        type=_Whole(1, MAX_WORKERS),
        metavar="N",
        help="PD mode: engines for prompts, with --decode",
    )
    add(
        "--decode",
        type=_Whole(1, MAX_WORKERS),
        metavar="N",
        help="PD mode: engines for answers, with --prefill",
    )
    add(
        "--routers",
        type=_Whole(1, MAX_ROUTERS),
        default=1,
        metavar="N",
        help="routers before the engines, with a random balancer before them (%(default)s)",
    )
    add(
        "--staleness-ms",
        type=_Whole(0, MAX_STALENESS_MS),
        default=100,
        metavar="MS",
        help="after which routers hear of each other (%(default)s)",
    )
    add(
        "--engine",
        choices=[*ENGINES, RECORDED],
        default=ENGINES[0],
        metavar="PROFILE",
        help=f"one of {', '.join([*ENGINES, RECORDED])} (%(default)s)",
    )
    add(
        "--cache-blocks",
        type=_Whole(1, MAX_CACHE_BLOCKS),
        metavar="B",
        help=f"blocks that an engine caches (as many as hold {CACHE_TOKENS} tokens)",
    )
    add(
        "--block-size",
        type=_Whole(1, 1 << 20),
        default=512,
        metavar="N",
        help="tokens of a block of a trace (%(default)s); a recording says it itself",
    )
    add(
        "--output-tokens",
        type=_Whole(1, 1 << 20),
        default=128,
        metavar="N",
        help="tokens of an answer whose length a recording does not have (%(default)s)",
    )
    add(
        "--sessions",
        type=_Whole(1, MAX_SESSIONS),
        metavar="N",
        help="the sessions of a trace of agents' calls over and over, N in all (each once)",
    )
    add("--speed", type=_factor, default=1.0, metavar="X", help="arrivals X times as dense (%(default)s)")
    add("--config_path", metavar="F", help="YAML file of a router, of which the section scheduler is taken")
    add("--seed", type=_Whole(0, (1 << 64) - 1), default=0, metavar="N", help="of all chance (%(default)s)")
    add("--json", metavar="F", help="write the results to a file; - is stdout, without the table")
    add("--plot", metavar="F.png", help="draw the results; needs fd-router[plot]")
    return parser


class _Whole:
    """A whole number within bounds, as argparse wants types."""

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most

    def __call__(self, text: str) -> int:
        problem = f"{text!r}: a whole number from {self._least} to {self._most} is accepted"
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(problem) from None
        if not self._least <= value <= self._most:
            raise argparse.ArgumentTypeError(problem)
        return value


def _factor(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not MIN_SPEED <= value <= MAX_SPEED:
        raise argparse.ArgumentTypeError(f"{text!r}: a number from {MIN_SPEED} to {MAX_SPEED} is accepted")
    return value
