"""The Prometheus text format, version 0.0.4, with numbers as upstream (the Go client) prints them: `1`, not `1.0`."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from fd_router.observe.metrics.pace import paced

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def encode(metrics: Iterable[Metric]) -> bytes:
    """The families as text."""
    lines: list[str] = []
    for metric in metrics:
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        lines.append(f"# HELP {name} {_escape_help(metric.documentation)}\n# TYPE {name} {metric.type}\n")
        for sample in paced(metric.samples):
            labels = sample.labels
            if labels:
                pairs = ",".join([f'{key}="{_escape(labels[key])}"' for key in sorted(labels)])
                lines.append(f"{sample.name}{{{pairs}}} {number(sample.value)}\n")
            else:
                lines.append(f"{sample.name} {number(sample.value)}\n")
    return "".join(lines).encode("utf-8", "backslashreplace")


def number(value: float) -> str:
    """A value as Go prints it: integers without a fraction, `+Inf`, `NaN`."""
    if isinstance(value, int):
        return str(value)
    if math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


# Few texts, each in many samples: urls, roles, status codes.
@lru_cache(maxsize=4096)
def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
