"""Results as a picture: how long clients wait for the first token, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fd_router.simulate.trace_file import SimulationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
BARS: tuple[tuple[str, str, Callable[[Simulation], float]], ...] = (
    ("cached share of prompt tokens, %", ".1f", lambda run: 100 * run.hit),
    ("TTFT, mean, ms", ",.0f", lambda run: run.first_token[0]),
    ("busiest worker over the mean", ".2f", lambda run: run.balance),
)
"""Title, format and value of each group of bars."""


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
        for axis, (title, digits, value) in zip(row[1:], BARS, strict=True):
            _bars(axis, title, digits, {policy: value(run) for policy, run in runs.items()})
    figure.savefig(path, dpi=120, format="png")
    plt.close(figure)


def _waiting(axis: Any, name: str, runs: Mapping[str, Simulation]) -> None:
    """The share of requests whose first token came within a time."""
    for (policy, run), colour in zip(runs.items(), COLOURS, strict=False):
        count = len(run.first_tokens)
        shares = [100 * place / count for place in range(1, count + 1)]
        axis.plot(run.first_tokens, shares, label=policy, color=colour, linewidth=2)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.set_ylim(0, 101)
    axis.set_title(name, fontsize=11, loc="left", fontweight="bold")
    axis.set_xlabel("time to first token, ms (log scale)")
    axis.set_ylabel("% of requests")
    axis.grid(visible=True, which="major", color="#e6e8eb")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="lower right")


def _bars(axis: Any, title: str, digits: str, values: Mapping[str, float]) -> None:
    bars = axis.bar(list(values), list(values.values()), color=COLOURS[: len(values)], width=0.65)
    axis.bar_label(bars, [format(value, digits) for value in values.values()], padding=2)
    axis.set_title(title, fontsize=10)
    axis.margins(y=0.15)
    axis.yaxis.set_ticks([])
    axis.tick_params(axis="x", length=0, labelrotation=30)
    axis.spines[["top", "right", "left"]].set_visible(False)
