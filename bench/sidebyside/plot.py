"""Draw a report as a PNG: `plot.py REPORT.json OUT.png`, run by a Python that has matplotlib."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

OURS = "#1f6feb"
PEER = "#9aa4b2"
TITLE_WIDTH = 50
"""Letters of a line above a panel, in which it has room."""


def panels(report: dict[str, Any]) -> list[tuple[str, str, dict[str, float]]]:
    """(title, unit, figure by router) of each row that has peers: CPU, and what it is counted per."""
    found = []
    for row, samples in report["rows"].items():
        unit = "chunk" if any("cpu_us_chunk" in sample for sample in samples.values()) else "request"
        figures = {
            name: sample[f"cpu_us_{unit}"] for name, sample in samples.items() if f"cpu_us_{unit}" in sample
        }
        if len(figures) > 1:
            found.append((report["titles"][row], unit, figures))
    return found


def draw(report: dict[str, Any], out: Path) -> None:
    found = panels(report)
    across = 3
    down = -(-len(found) // across)
    figure, axes = plt.subplots(down, across, figsize=(15, 3.1 * down), squeeze=False)
    for axis in axes.flat[len(found) :]:
        axis.remove()
    for axis, (title, unit, figures) in zip(axes.flat, found, strict=False):
        names = sorted(figures, key=lambda name: figures[name], reverse=True)
        colours = [OURS if name.startswith("fd-router") else PEER for name in names]
        lengths = [figures[name] for name in names]
        bars = axis.barh(names, lengths, color=colours)
        axis.bar_label(bars, [label(length) for length in lengths], padding=3, fontsize=8)
        axis.set_xscale("log")
        axis.set_xlim(min(lengths) / 4, max(lengths) * 4)
        axis.xaxis.set_ticks([])
        axis.xaxis.set_ticks([], minor=True)
        axis.set_title(textwrap.fill(title.partition(" (")[0], TITLE_WIDTH), fontsize=10)
        axis.set_xlabel(f"CPU microseconds per {unit}, log scale", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        "CPU of the router's processes; same engines, same run, medians of interleaved slices", fontsize=11
    )
    figure.tight_layout()
    figure.savefig(out, dpi=110)


def label(microseconds: float) -> str:
    """Two or three digits that say something."""
    return f"{microseconds:,.0f}" if microseconds >= 20 else f"{microseconds:.1f}"


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
