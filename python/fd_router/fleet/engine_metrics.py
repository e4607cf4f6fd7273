"""An engine's own counts, read from its Prometheus text."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

RUNNING = "fastdeploy:num_requests_running"
WAITING = "fastdeploy:num_requests_waiting"

_LABELS = r'(?:\{(?:[^"}\n]|"(?:[^"\\\n]|\\.)*")*\})?'
_SAMPLES = {
    name: re.compile(rf"^[ \t]*{re.escape(name)}{_LABELS}[ \t]+(\S+)", re.MULTILINE)
    for name in (RUNNING, WAITING)
}


@dataclass(frozen=True, slots=True)
class EngineMetrics:
    """Requests that an engine works on, and that wait inside it."""

    running: float
    waiting: float


def parse_engine_metrics(text: str) -> EngineMetrics:
    """Read both families; samples with different labels are summed. Raises `ValueError` naming what is wrong."""
    return EngineMetrics(_total(RUNNING, text), _total(WAITING, text))


def _total(name: str, text: str) -> float:
    values = _SAMPLES[name].findall(text)
    if not values:
        raise ValueError(f"no sample of {name}")
    try:
        total = sum(float(value) for value in values)
    except ValueError:
        total = math.nan
    # A load that is not a count would win or lose every comparison of workers.
    if not 0 <= total < math.inf:
        raise ValueError(f"{name}: found {' '.join(values[:3])}, accepted: number from 0")
    return total
