"""Policies on a recorded trace, over HTTP: the real fd-router, eight mock engines, an open loop.

Each policy gets a fresh router and cold engines, one policy after the other. Engines and arrivals are sped up alike;
figures are in the trace's time. bench/README.md has the method and the last figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from replay import report, trace
from replay.client import replay
from replay.fleet import Fleet, Model

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
SERIAL = Model()
POLICIES = ("request_num", report.BASELINE, report.OURS)


def main() -> int:
    args = arguments()
    # A plain SIGTERM would leave the router and the engines behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    path = args.data / "conversation_trace.jsonl.gz"
    if not path.exists():
        print(f"not measured: {path} is not here")
        return 1 if args.gate else 0
    requests = trace.read(path, args.first)
    if args.replicas > 1:
        requests = trace.spread(requests)
    results = measure(requests, args.policies, args.speed, args.rounds, args.replicas)
    print(json.dumps(results) if args.json else report.table(results))
    judged = report.judge_replicas if args.replicas > 1 else report.judge
    wrong = judged(results) if args.gate else []
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, default=ROOT / "../shared/data", help="where the trace is (../shared/data)"
    )
    parser.add_argument("--first", type=int, default=2_000, help="requests of the trace (2000)")
    parser.add_argument("--speed", type=float, default=5.0, help="how much faster than recorded (5)")
    parser.add_argument("--rounds", type=int, default=1, help="of all policies; figures are medians (1)")
    parser.add_argument(
        "--policies", type=lambda text: tuple(text.split(",")), default=POLICIES, help=",".join(POLICIES)
    )
    parser.add_argument(
        "--replicas",
        type=int,
        default=1,
        help="each policy once more with so many routers, which share, behind a balancer that chooses by chance;"
        " requests of one moment are spread over the 3 s that it stands for (1)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument(
        "--gate", action="store_true", help="check the bars; exit code 1 when one does not hold"
    )
    return parser.parse_args()


def measure(
    requests: Sequence[trace.Asked],
    policies: Sequence[str],
    speed: float,
    rounds: int = 1,
    replicas: int = 1,
) -> dict[str, dict[str, Any]]:
    """Figures by policy, and by `report.shared(policy)` those of several routers."""
    kinds = [(policy, policy, 1) for policy in policies]
    if replicas > 1:
        kinds = [each for kind in kinds for each in (kind, (report.shared(kind[0]), kind[1], replicas))]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name, _, _ in kinds}
    for number in range(rounds):
        first = number % len(kinds)
        for name, policy, routers in (*kinds[first:], *kinds[:first]):
            print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
            runs[name].append(run(requests, policy, speed, replicas=routers))
    return {name: report.merged(each) for name, each in runs.items()}


def run(
    requests: Sequence[trace.Asked], policy: str, speed: float, model: Model = SERIAL, replicas: int = 1
) -> dict[str, Any]:
    """One policy in front of cold engines."""
    with (
        tempfile.TemporaryDirectory(prefix="fd-router-replay-") as folder,
        Fleet(Path(folder), policy, model, speed, replicas) as fleet,
    ):
        served, errors = asyncio.run(replay(fleet.ports, requests, speed))
        return report.figures(served, errors, fleet.truth(), speed)


if __name__ == "__main__":
    sys.exit(main())
