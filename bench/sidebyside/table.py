"""The table: one block per row, one line per router, and below it how the row's anchor compares with each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import pairs
from .routers import DIRECT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .measure import Slice

SURE_CYCLES = 3
"""Cycles from which on a spread holds the true median with 95 % (six pairs)."""

COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("req/s", "rps", ".0f"),
    ("added p50 ms", "added_latency_p50_ms", ".2f"),
    ("added p99 ms", "added_latency_p99_ms", ".2f"),
    ("TTFT p50 ms", "added_ttft_p50_ms", ".2f"),
    ("TTFT p99 ms", "added_ttft_p99_ms", ".2f"),
    ("CPU us/req", "cpu_us_request", ".0f"),
    ("CPU us/chunk", "cpu_us_chunk", ".2f"),
    ("CPU us/req at rate", "cpu_us_at_rate", ".0f"),
    ("loop us/req", "loop_us_request", ".0f"),
    ("loop us/chunk", "loop_us_chunk", ".2f"),
    ("RSS MB", "rss_mb", ".0f"),
    ("errors", "errors", ".0f"),
)


RATIOS: tuple[tuple[str, str], ...] = (
    ("CPU/chunk", "cpu_us_chunk"),
    ("CPU/req", "cpu_us_request"),
    ("CPU at rate", "cpu_us_at_rate"),
    ("loop/chunk", "loop_us_chunk"),
    ("loop/req", "loop_us_request"),
    ("added p50", "added_latency_p50_ms"),
    ("TTFT p50", "added_ttft_p50_ms"),
)


def lines_of(samples: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Header and one line per router; columns that no router has are left out."""
    columns = [column for column in COLUMNS if any(column[1] in sample for sample in samples.values())]
    table = [["router", *(title for title, _, _ in columns)]]
    for name, sample in samples.items():
        cells = [format(sample[key], form) if key in sample else "" for _, key, form in columns]
        table.append([name, *cells])
    return table


def ratio_lines(slices: Sequence[Slice], row: str, anchor: str) -> list[list[str]]:
    """Header and one line per other router: ratios of pairs, and which of them are noise.

    Where CPU is counted by chunk, the same ratio by request is left out.
    """
    here = [each for each in slices if each.row == row]
    others = dict.fromkeys(each.router for each in here if each.router not in (anchor, DIRECT))
    streams = any("cpu_us_chunk" in each.figures for each in here)
    columns = [column for column in RATIOS if not (streams and column[1].endswith("_us_request"))]
    cells = {
        (other, metric): shown(pairs.compare(here, row, anchor, other, metric))
        for other in others
        for _, metric in columns
    }
    columns = [column for column in columns if any(cells[other, column[1]] for other in others)]
    table = [[f"{anchor} / its", *(title for title, _ in columns)]]
    table += [[other, *(cells[other, metric] for _, metric in columns)] for other in others]
    return table if columns else []


def shown(ratio: pairs.Spread | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio}{' noise' if ratio.leaves_open(1.0) else ''}"


def laid_out(table: Sequence[Sequence[str]]) -> list[str]:
    """Markdown that reads well in a terminal too."""
    widths = [max(len(line[at]) for line in table) for at in range(len(table[0]))]
    rule = ["-" * (width - 1) + (":" if at else "-") for at, width in enumerate(widths)]
    lines = []
    for line in (table[0], rule, *table[1:]):
        cells = (
            cell.ljust(width) if not at else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def markdown(report: Mapping[str, Any], slices: Sequence[Slice]) -> str:
    """The whole report."""
    parts = []
    for row, samples in report["rows"].items():
        text = [f"#### {row}: {report['titles'][row]}", "", *laid_out(lines_of(samples))]
        ratios = ratio_lines(slices, row, report["anchors"][row])
        if ratios:
            text += ["", *laid_out(ratios)]
        parts.append("\n".join(text))
    parts.append(footer(report))
    return "\n\n".join(parts) + "\n"


def footer(report: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    machine = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
    lines = [
        f"Versions: {versions}.",
        f"Machine: {machine}.",
        f"Load average (1 minute) before and after: {report['load'][0]:.1f}, {report['load'][1]:.1f}.",
        f"Medians of {report['rounds']} cycles. Ratios are medians of pairs of neighbouring slices, two a cycle, with "
        "their spread; noise: the spread has 1 in it.",
    ]
    if report["rounds"] < SURE_CYCLES:
        lines.append(f"Fewer than {SURE_CYCLES} cycles: the spreads are narrower than what chance can do.")
    lines += [f"Not measured: {name}: {reason}" for name, reason in report["unavailable"].items()]
    lines += [f"First error of {where}: {error}" for where, error in report["errors"].items()]
    return "\n".join(lines)
