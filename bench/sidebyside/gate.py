"""The bars: what fd-router must reach, as ratios to peers of the same run where that is possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .routers import OURS_NAME, OURS_PD_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .measure import Results

RUST_PEERS = ("sglang-router", "smg", "vllm-router")
PEERS = (*RUST_PEERS, "granian+httpx")


@dataclass(frozen=True)
class Bar:
    """`metric` of `router` in `row` is at most `limit`, or `limit` times that of `peer` (in `peer_row`)."""

    row: str
    metric: str
    limit: float
    peer: str = ""
    peer_row: str = ""
    router: str = OURS_NAME

    def verdict(self, results: Results) -> tuple[bool | None, str]:
        """Whether it holds (None when a figure is missing) and the line that says so."""
        figure = read(results, self.row, self.router, self.metric)
        base = read(results, self.peer_row or self.row, self.peer, self.metric) if self.peer else 1.0
        what = f"{self.row} {self.metric} of {self.router}"
        limit = f"at most {self.limit}" + (f"x {self.peer}" if self.peer else "")
        if figure is None or base is None:
            lacking = self.router if figure is None else self.peer
            return None, f"missing  {what}, {limit}: no figure for {lacking}"
        holds = figure <= self.limit * base
        ratio = f" = {figure / base:.2f}x" if self.peer else ""
        return holds, f"{'pass' if holds else 'FAIL':7}  {what}: {figure:.2f}{ratio}, {limit}"


def read(
    results: Mapping[str, Mapping[str, Mapping[str, float]]], row: str, router: str, metric: str
) -> float | None:
    return results.get(row, {}).get(router, {}).get(metric)


BARS: tuple[Bar, ...] = (
    *(
        Bar(row, "cpu_us_request", limit, peer)
        for row in ("unary-200", "unary-8k")
        for peer, limit in (("sglang-router", 0.75), ("smg", 0.5), ("nginx", 4.0))
    ),
    Bar("unary-1m", "cpu_us_request", 3.0, "nginx"),
    Bar("paced-800", "cpu_us_chunk", 1.0, "sglang-router"),
    Bar("burst", "cpu_us_chunk", 1.0, "sglang-router"),
    Bar("paced-200", "added_ttft_p50_ms", 3.0),
    *(Bar("paced-200", "added_ttft_p50_ms", 1.0, peer) for peer in PEERS),
    Bar("unary-200", "loop_us_request", 60.0),
    Bar("unary-8k", "loop_us_request", 60.0),
    Bar("paced-1500", "loop_us_chunk", 8.0),
    Bar("pd-8k", "cpu_us_request", 1.6, OURS_NAME, "unary-8k", OURS_PD_NAME),
    Bar("pd-burst", "cpu_us_request", 1.6, OURS_NAME, "burst", OURS_PD_NAME),
)


def judge(results: Results) -> tuple[bool, list[str]]:
    """Whether every bar holds (a missing figure does not) and one line per bar."""
    verdicts = [bar.verdict(results) for bar in BARS]
    return all(holds for holds, _ in verdicts), [line for _, line in verdicts]
