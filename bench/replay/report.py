"""What a run came to, in the trace's time, and the bars."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .client import Served

OURS, BASELINE = "least_work", "cache_aware"
BARS = {"first_mean": 0.78, "whole_mean": 1.0}
"""What `least_work` may have of the figure of `cache_aware`."""
LATE = 0.05
"""Mean lateness over the mean first byte, of which it is a part: beyond it, the machine was measured."""


HIT_POINTS = 0.02
"""What several routers may lack of the share that one finds in caches."""
SHARED_TTFT = 1.05
"""What several routers may have of the mean first byte of one."""


def shared(policy: str) -> str:
    """What a policy is called where several routers go by it."""
    return f"{policy}, shared"


def judge_replicas(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What does not hold of several routers beside one."""
    wrong = []
    for name, one in results.items():
        each = results.get(shared(name))
        if each is None:
            continue
        if each["errors"] or one["errors"]:
            wrong.append(f"{name}: errors: {one['first_error'] or each['first_error']}")
        if each["hit"] < one["hit"] - HIT_POINTS:
            wrong.append(f"{name}: hit {each['hit']:.3f} of several, {one['hit']:.3f} of one")
        if each["first_mean"] > SHARED_TTFT * one["first_mean"]:
            wrong.append(
                f"{name}: first byte {each['first_mean']:.3f} of several, {one['first_mean']:.3f} of one"
            )
    return wrong


def figures(
    served: Sequence[Served], errors: Sequence[str], truth: Mapping[str, float], speed: float
) -> dict[str, Any]:
    """One policy. Times are seconds of the trace, so `speed` times those of the clock; shares are of prompt tokens."""
    first = sorted(each.first * speed for each in served)
    late = sorted(max(0.0, each.late) * speed for each in served)
    prompts = sum(each.prompt_tokens for each in served)
    counted = truth.get("prompt", 0)
    return {
        "requests": len(served),
        "errors": len(errors),
        "first_error": errors[0] if errors else None,
        "hit": sum(each.cached_tokens for each in served) / max(1, prompts),
        "predicted": truth["predicted_cached"] / counted if counted else None,
        "gone": truth["overpredicted"] / counted if counted else None,
        "first_mean": mean(first),
        "first_p50": rank(first, 50),
        "first_p90": rank(first, 90),
        "first_p99": rank(first, 99),
        "whole_mean": mean([each.whole * speed for each in served]),
        "late_mean": mean(late),
        "late_p99": rank(late, 99),
    }


def mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else 0.0


def rank(values: Sequence[float], percent: int) -> float:
    """Nearest rank, of sorted values."""
    return values[max(0, -(-len(values) * percent // 100) - 1)] if values else 0.0


def merged(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One policy over several rounds: medians, and all its errors."""
    result = dict(rounds[0])
    for name, value in result.items():
        if isinstance(value, float):
            result[name] = statistics.median(each[name] for each in rounds)
    result["requests"] = sum(each["requests"] for each in rounds)
    result["errors"] = sum(each["errors"] for each in rounds)
    result["first_error"] = next((each["first_error"] for each in rounds if each["errors"]), None)
    return result


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """All policies as Markdown."""
    base = results.get(BASELINE, {})
    head = (
        *("policy", "hit", "predicted", "gone", "TTFT mean s", f"x {BASELINE}", "p50", "p90", "p99"),
        *("end to end mean s", f"x {BASELINE}", "late mean s", "p99", "errors"),
    )
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for policy, each in results.items():
        cells = [
            *(share(each[name]) for name in ("hit", "predicted", "gone")),
            f"{each['first_mean']:.2f}",
            times(each, base, "first_mean"),
            *(f"{each[name]:.2f}" for name in ("first_p50", "first_p90", "first_p99", "whole_mean")),
            times(each, base, "whole_mean"),
            *(f"{each[name]:.3f}" for name in ("late_mean", "late_p99")),
            str(each["errors"]),
        ]
        lines.append(f"| {policy} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def times(each: Mapping[str, Any], base: Mapping[str, Any], name: str) -> str:
    return f"{each[name] / base[name]:.2f}" if base.get(name) else ""


def judge(results: Mapping[str, Mapping[str, Any]], bars: Mapping[str, float] = BARS) -> list[str]:
    """What does not hold."""
    wrong = []
    for policy in (OURS, BASELINE):
        each = results.get(policy)
        if each is None or not each["requests"]:
            return [f"{policy} was not measured"]
        if each["errors"]:
            wrong.append(f"{policy}: {each['errors']} errors, the first one {each['first_error']}")
        if each["late_mean"] > LATE * each["first_mean"]:
            wrong.append(
                f"{policy}: requests were sent {each['late_mean']:.3f} s late: the machine is too busy"
            )
    for name, bar in bars.items():
        ratio = results[OURS][name] / results[BASELINE][name]
        if ratio > bar:
            wrong.append(f"{name}: {OURS} has {ratio:.3f}x of {BASELINE}, at most {bar}x")
    return wrong
