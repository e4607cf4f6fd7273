"""Results as a table for people, and as plain values for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fd_router._core import Replay, Simulation

SPREAD = ("mean", "p50", "p90", "p99")

SIMULATED = (
    "policy",
    "hit",
    "predicted",
    "balance",
    *(f"TTFT {name}" for name in SPREAD),
    "token mean",
    *(f"end {name}" for name in SPREAD),
    "errors",
)
REPLAYED = ("policy", "decisions", "same", "same share", "same predictions", "missing")
NONE = "-"


def simulated_row(policy: str, result: Simulation) -> list[str]:
    """What stands under `SIMULATED`; times are milliseconds."""
    predicted = result.predicted_hit
    return [
        policy,
        _percent(result.hit),
        NONE if predicted is None else _percent(predicted),
        f"{result.balance:.2f}",
        *(_millis(value) for value in result.first_token),
        f"{result.token_mean:.1f}",
        *(_millis(value) for value in result.end_to_end),
        str(result.errors),
    ]


def simulated_values(policy: str, result: Simulation) -> dict[str, Any]:
    """The same for programs: shares from 0 to 1, times in milliseconds, nothing rounded."""
    return {
        "policy": policy,
        "requests": result.requests,
        "errors": result.errors,
        "hit": result.hit,
        "predicted_hit": result.predicted_hit,
        "over_predicted": result.over_predicted,
        "balance": result.balance,
        "first_token_ms": dict(zip(SPREAD, result.first_token, strict=True)),
        "token_mean_ms": result.token_mean,
        "end_to_end_ms": dict(zip(SPREAD, result.end_to_end, strict=True)),
        "makespan_ms": result.makespan,
    }


def replayed_row(policy: str, result: Replay) -> list[str]:
    """What stands under `REPLAYED`."""
    share = _percent(result.same / result.decisions) if result.decisions else NONE
    counts = (result.decisions, result.same, result.same_predictions, result.missing)
    decisions, same, predictions, missing = map(str, counts)
    return [policy, decisions, same, share, predictions, missing]


def replayed_values(policy: str, result: Replay) -> dict[str, Any]:
    """The same for programs, with decisions by worker."""
    return {
        "policy": policy,
        "decisions": result.decisions,
        "same": result.same,
        "same_predictions": result.same_predictions,
        "missing": result.missing,
        "workers": {url: {"then": then, "now": now} for url, then, now in result.workers},
    }


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, the first to the left and the others to the right; ends with a line end."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = []
    for first, *others in (head, *rows):
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]) + "\n")
    return "".join(lines)


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _millis(millis: float) -> str:
    return f"{millis:.0f}"
