"""Compare fd-router with its peers on the same engines, in one run: `python bench/peers.py`.

Starts every router that can be had here, sends each the same seeded traffic in short slices in turn, and prints
medians, and ratios of neighbouring slices. bench/README.md has the method and the last figures.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compare import build_revision
from sidebyside import gate, load, table
from sidebyside.environments import CACHE, environment, run
from sidebyside.measure import Bench, Slice
from sidebyside.process import UnavailableError
from sidebyside.routers import OURS_BEFORE_NAME, OURS_NAME, OURS_PD_NAME, ROUTERS, Ours, Router, machine
from sidebyside.rows import ROWS
from sidebyside.running import Running

if TYPE_CHECKING:
    from collections.abc import Sequence

ENGINES = 4


def main() -> int:
    args = arguments()
    # A plain SIGTERM would leave the routers and engines behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    report = json.loads(args.read.read_text()) if args.read else measure(args)
    slices = [Slice(**each) for each in report["slices"]]
    print(table.markdown(report, slices))
    if args.plot:
        programs = environment("plot", "matplotlib>=3.10,<4")
        source = args.read or CACHE / "results" / "last.json"
        run(
            [
                str(programs / "python"),
                str(Path(__file__).parent / "sidebyside" / "plot.py"),
                str(source),
                str(args.plot),
            ]
        )
    if not args.gate:
        return 0
    passed, lines = gate.judge(slices, report["against"])
    print("\n".join(lines))
    return 0 if passed else 1


def arguments() -> argparse.Namespace:
    names = [router.name for router in ROUTERS]
    rows = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=known(names), default=names, help=f"routers: {','.join(names)}")
    parser.add_argument("--rows", type=known(rows), default=rows, help=f"rows: {','.join(rows)}")
    parser.add_argument("--rounds", type=int, help="cycles of slices (3; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="shorter slices")
    parser.add_argument(
        "--anchor",
        choices=[name for name in names if name != OURS_PD_NAME],
        default=OURS_NAME,
        metavar="NAME",
        help="router that ratios are of, measured before and after each other (fd-router)",
    )
    parser.add_argument(
        "--against", default="", metavar="REV", help="measure this revision of fd-router as well"
    )
    parser.add_argument(
        "--gate", action="store_true", help="check the bars; exit code 1 when one does not hold"
    )
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the CPU figures")
    parser.add_argument(
        "--read", type=Path, metavar="JSON", help="show, plot or judge an earlier report; measure nothing"
    )
    return parser.parse_args()


def known(names: list[str]) -> Any:
    def split(text: str) -> list[str]:
        chosen = text.split(",")
        for name in chosen:
            if name not in names:
                raise argparse.ArgumentTypeError(f"unknown {name!r}; accepted: {', '.join(names)}")
        return chosen

    return split


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure and keep the report as JSON under `.bench/results`."""
    rows = [row.anchored(args.anchor) for row in ROWS if row.name in args.rows]
    rows = [row.shortened() for row in rows] if args.quick else rows
    cycles = args.rounds or (1 if args.quick else 3)
    wanted = [each for each in ROUTERS if each.name in args.only]
    if args.against:
        wanted.append(Ours(OURS_BEFORE_NAME, packages=build_revision(args.against).packages))
    wanted = [each for each in wanted if any(row.takes(each.name) for row in rows)]
    before = os.getloadavg()[0]
    with ExitStack() as stack:
        bench, unavailable = start(wanted, stack)
        for number in range(cycles):
            bench.cycle(number, rows)
    report = {
        "when": time.strftime("%Y-%m-%d %H:%M:%S"),
        "machine": machine(),
        "load": [before, os.getloadavg()[0]],
        "versions": {each.name: each.version for each in bench.running},
        "rounds": cycles,
        "against": args.against,
        "titles": {row.name: row.title for row in rows},
        "anchors": {row.name: row.anchor for row in rows},
        "unavailable": unavailable,
        **bench.report(),
    }
    keep(report)
    return report


def start(wanted: Sequence[Router], stack: ExitStack) -> tuple[Bench, dict[str, str]]:
    """Engines and routers, which end with the stack; and why some routers are not measured."""
    tool = load.build()
    scratch = CACHE / "run"
    mixed = load.Engines(tool, scratch / "engines", ENGINES)
    stack.callback(mixed.child.stop)
    prefill = load.Engines(tool, scratch / "prefill", ENGINES, prefill=True)
    stack.callback(prefill.child.stop)
    running: list[Running] = []
    unavailable: dict[str, str] = {}
    for router in wanted:
        print(f"starting {router.name}", flush=True)
        try:
            started = Running(router, scratch / router.name, mixed.addresses, prefill.addresses)
        except UnavailableError as error:
            unavailable[router.name] = str(error)
            print(f"  not measured: {error}", flush=True)
            continue
        stack.callback(started.child.stop)
        running.append(started)
    return Bench(tool, int(mixed.addresses[0].rpartition(":")[2]), running), unavailable


def keep(report: dict[str, Any]) -> None:
    folder = CACHE / "results"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1)
    for name in (time.strftime("%Y%m%d-%H%M%S"), "last"):
        (folder / f"{name}.json").write_text(text)


if __name__ == "__main__":
    sys.exit(main())
