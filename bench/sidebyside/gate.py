"""The bars: what fd-router must reach, as ratios to peers of the same run where that is possible.

A bar is judged by the median of pairs. Where their spread has the bar in it, the line says so: another run may well
come out on the other side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import pairs
from .routers import OURS_BEFORE_NAME, OURS_NAME, OURS_PD_NAME, RUST_PEERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .measure import Slice
    from .pairs import Spread

SGLANG, SMG = "sglang-router", "smg"
ROUTING_PEERS = (*RUST_PEERS, "granian+httpx")
"""All that do what a router does; nginx and the bare relay are limits, not peers."""


@dataclass(frozen=True)
class Bar:
    """`metric` of `router` in `row` is at most `limit`: as it is, or times that of whichever of `peers` is best."""

    row: str
    metric: str
    limit: float
    peers: tuple[str, ...] = ()
    router: str = OURS_NAME

    def verdict(self, slices: Sequence[Slice]) -> tuple[bool | None, str]:
        """Whether it holds (None when a figure is missing) and the line that says so."""
        what = f"{self.row} {self.metric} of {self.router}"
        limit = f"at most {self.limit}" + (f"x {' and '.join(self.peers)}" if self.peers else "")
        own = pairs.figure(slices, self.row, self.router, self.metric)
        if own is None:
            return None, f"missing  {what}, {limit}: no figure for {self.router}"
        if not self.peers:
            return self._judged(own, f"{what}: {own}, {limit}")
        found = {peer: pairs.compare(slices, self.row, self.router, peer, self.metric) for peer in self.peers}
        lacking = [peer for peer, ratio in found.items() if ratio is None]
        if lacking:
            return None, f"missing  {what}, {limit}: no figure beside {', '.join(lacking)}"
        ratios = {peer: ratio for peer, ratio in found.items() if ratio is not None}
        best = max(ratios, key=lambda peer: ratios[peer].median)
        shown = f"{pairs.number(own.median)} = {ratios[best]} x {best}"
        return self._judged(ratios[best], f"{what}: {shown}, {limit}")

    def _judged(self, measured: Spread, text: str) -> tuple[bool, str]:
        holds = measured.median <= self.limit
        doubt = "; noise: the bar is within the spread" if measured.leaves_open(self.limit) else ""
        return holds, f"{'pass' if holds else 'FAIL':7}  {text}{doubt}"


UNARY = ("unary-200", "unary-8k")

BARS: tuple[Bar, ...] = (
    *(Bar(row, "cpu_us_at_rate", 1.0, (SGLANG,)) for row in UNARY),
    *(Bar(row, "added_latency_p50_ms", 1.0, (SGLANG, SMG)) for row in UNARY),
    Bar("paced-200", "cpu_us_chunk", 1.0, RUST_PEERS),
    Bar("paced-800", "cpu_us_chunk", 0.9, RUST_PEERS),
    Bar("paced-2000", "cpu_us_chunk", 0.9, RUST_PEERS),
    Bar("paced-200", "added_ttft_p50_ms", 1.0, ROUTING_PEERS),
    Bar("paced-800", "added_ttft_p50_ms", 1.0, ROUTING_PEERS),
    *(Bar(row, "cpu_us_request", 0.6, (SGLANG,)) for row in UNARY),
    *(Bar(row, "cpu_us_request", 0.5, (SMG,)) for row in UNARY),
    Bar("unary-200", "loop_us_request", 38.0),
    Bar("unary-8k", "loop_us_request", 45.0),
    Bar("paced-1500", "loop_us_chunk", 6.0),
    Bar("paced-1500", "loop_us_chunk", 0.85, (OURS_BEFORE_NAME,)),
    Bar("pd-8k", "cpu_us_request", 1.6, (OURS_NAME,), OURS_PD_NAME),
    Bar("pd-burst", "cpu_us_request", 1.6, (OURS_NAME,), OURS_PD_NAME),
    Bar("unary-1m", "cpu_us_request", 2.2, ("nginx",)),
    *(Bar(row, "cpu_us_request", 4.0, ("nginx",)) for row in UNARY),
    Bar("burst", "cpu_us_chunk", 1.0, (SGLANG,)),
    Bar("paced-200", "added_ttft_p50_ms", 3.0),
)


def judge(slices: Sequence[Slice], against: str = "") -> tuple[bool, list[str]]:
    """Whether every bar holds (a missing figure does not) and one line per bar.

    Bars beside an earlier revision are not asked for when there is none in the run.
    """
    passed, lines = True, []
    for bar in BARS:
        if OURS_BEFORE_NAME in bar.peers and not against:
            lines.append(f"unasked  {bar.row} {bar.metric}, at most {bar.limit}x a revision: give --against")
            continue
        holds, line = bar.verdict(slices)
        passed = passed and bool(holds)
        lines.append(line)
    return passed, lines
