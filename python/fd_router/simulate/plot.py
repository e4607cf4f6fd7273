"""Results as a picture: how long clients wait for the first token, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fd_router.simulate.trace_file import SimulationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fd_router._core import Simulation

COLOURS = (
    "#9aa4b2",
    "#e08a1e",
    "#1f6feb",
    "#2a9d62",
    "#b5489a",
    "#6f5bd0",
    "#c0392b",
    "#3aa6b9",
    "#7a6a4f",
    "#444c56",
)
BARS = (("cached share of prompt tokens", "%"), ("TTFT, mean", "ms"), ("busiest worker over the mean", "x"))


def need_matplotlib() -> None:
    """Raises `SimulationError` where nothing can be drawn: better before the runs than after them."""
    try:
        import matplotlib as mpl  # noqa: PLC0415
    except ImportError as error:
        raise SimulationError("--plot needs matplotlib: pip install 'fd-router[plot]'") from error
    mpl.use("Agg")


def draw(results: Mapping[str, Mapping[str, Simulation]], path: str) -> None:
    """Write a PNG with one row a trace: `results` by its name, and by policy. Raises `OSError`."""
    import matplotlib.pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(
        len(results),
        1 + len(BARS),
        figsize=(16, 4.2 * len(results)),
        squeeze=False,
        width_ratios=[2.2, *(1 for _ in BARS)],
        layout="constrained",
    )
    for (name, runs), row in zip(results.items(), axes, strict=True):
        _waiting(row[0], name, runs)
        for axis, (title, unit) in zip(row[1:], BARS, strict=True):
            _bars(axis, title, unit, runs)
    figure.savefig(path, dpi=120, format="png")
    plt.close(figure)


def _waiting(axis: Any, name: str, runs: Mapping[str, Simulation]) -> None:
    """The share of requests whose first token came within a time."""
    for (policy, run), colour in zip(runs.items(), COLOURS, strict=False):
        count = len(run.first_tokens)
        shares = [100 * place / count for place in range(1, count + 1)]
        axis.plot(run.first_tokens, shares, label=policy, color=colour, linewidth=2)
    axis.set_xscale("log")
    axis.set_ylim(0, 101)
    axis.set_title(name, fontsize=11, loc="left", fontweight="bold")
    axis.set_xlabel("time to first token, ms (log scale)")
    axis.set_ylabel("% of requests")
    axis.grid(visible=True, which="major", color="#e6e8eb")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="lower right")


def _bars(axis: Any, title: str, unit: str, runs: Mapping[str, Simulation]) -> None:
    values = [_value(unit, run) for run in runs.values()]
    bars = axis.bar(list(runs), values, color=COLOURS[: len(runs)], width=0.65)
    axis.bar_label(bars, [f"{value:,.0f}" if unit == "ms" else f"{value:.1f}" for value in values], padding=2)
    axis.set_title(f"{title}, {unit}" if unit != "x" else title, fontsize=10)
    axis.margins(y=0.15)
    axis.yaxis.set_ticks([])
    axis.tick_params(axis="x", length=0, labelrotation=30)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _value(unit: str, run: Simulation) -> float:
    return {"%": 100 * run.hit, "ms": run.first_token[0], "x": run.balance}[unit]
