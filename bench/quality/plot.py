"""Draw the quality bench: `plot.py RESULT.jsonl OUT.png`, run by a Python that has matplotlib."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

OURS = "least_work, told"
COLOURS = {
    OURS: "#1f6feb",
    "sglang/smg cache_aware": "#d1242f",
    "dynamo s = 1": "#2da44e",
    "dynamo s = 32": "#8250df",
    "pending + uncached": "#bf8700",
    "request_num": "#6e7781",
    "round_robin": "#c4ccd4",
}
PANELS = (("first_token", "mean time to first token"), ("end_to_end", "mean time end to end"))
LIMIT = 2.0


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Reports by scenario and policy."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for line in path.read_text().splitlines():
        row = json.loads(line)
        found[row["scenario"]][row["policy"]] = row["report"]
    return found


def draw(found: dict[str, dict[str, Any]], out: Path) -> None:
    names = list(found)[::-1]
    figure, axes = plt.subplots(1, 2, figsize=(13, 0.36 * len(names) + 1.6), sharey=True)
    for axis, (figure_of, title) in zip(axes, PANELS, strict=True):
        for place, name in enumerate(names):
            means = {policy: report[figure_of]["mean"] for policy, report in found[name].items()}
            best = min(mean for policy, mean in means.items() if not policy.startswith("least_work"))
            for policy, colour in COLOURS.items():
                ratio = means[policy] / best
                ours = policy == OURS
                axis.plot(
                    min(ratio, LIMIT), place, ">" if ratio > LIMIT else "o", color=colour,
                    markersize=9 if ours else 6, zorder=3 if ours else 2, alpha=1 if ours else 0.8,
                )  # fmt: skip
        axis.axvline(1, color="#24292f", linewidth=0.8)
        axis.set_xlim(0.9, LIMIT + 0.05)
        axis.set_xlabel(f"{title}, over the best of the other rules")
        axis.grid(axis="x", color="#eaeef2")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(names)), [name.removeprefix("unseen: ") for name in names], fontsize=8)
    marks = [plt.Line2D([], [], marker="o", linestyle="", color=colour) for colour in COLOURS.values()]
    figure.legend(marks, COLOURS, ncols=len(COLOURS), loc="upper center", frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, 0.95))
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    draw(read(Path(sys.argv[1])), Path(sys.argv[2]))
