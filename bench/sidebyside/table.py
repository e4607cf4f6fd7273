"""The table: one block per row, one line per router."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .routers import DIRECT

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def lines_of(samples: Mapping[str, Mapping[str, float]], ours: tuple[str, ...]) -> list[list[str]]:
    """Header and one line per router; columns that no router has are left out."""
    columns = [column for column in COLUMNS if any(column[1] in sample for sample in samples.values())]
    table = [["router", *(title for title, _, _ in columns)]]
    for name, sample in samples.items():
        cells = []
        for _, key, form in columns:
            shown = key in sample and not (key.startswith("loop") and name not in ours)
            shown = shown and not (key.startswith("added") and name == DIRECT)
            cells.append(format(sample[key], form) if shown else "")
        table.append([name, *cells])
    return table


def markdown(report: Mapping[str, Any], ours: tuple[str, ...]) -> str:
    """The whole report as Markdown that reads well in a terminal too."""
    parts = []
    for row, samples in report["rows"].items():
        table = lines_of(samples, ours)
        widths = [max(len(line[at]) for line in table) for at in range(len(table[0]))]
        rule = ["-" * (width - 1) + (":" if at else "-") for at, width in enumerate(widths)]
        text = [f"### {row}: {report['titles'][row]}", ""]
        for line in (table[0], rule, *table[1:]):
            cells = (
                cell.ljust(width) if not at else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            text.append("| " + " | ".join(cells) + " |")
        parts.append("\n".join(text))
    parts.append(footer(report))
    return "\n\n".join(parts) + "\n"


def footer(report: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    machine = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
    lines = [
        f"Versions: {versions}.",
        f"Machine: {machine}.",
        f"Medians of {report['rounds']} interleaved rounds.",
    ]
    lines += [f"Not measured: {name}: {reason}" for name, reason in report["unavailable"].items()]
    lines += [f"First error of {where}: {error}" for where, error in report["errors"].items()]
    return "\n".join(lines)
