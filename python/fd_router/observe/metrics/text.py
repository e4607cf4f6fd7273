"""The Prometheus text format, version 0.0.4, with numbers as upstream (the Go client) prints them: `1`, not `1.0`."""

from __future__ import annotations

import math
import time
from functools import lru_cache
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SLICE = 64
"""Lines between two pauses, some 0.3 ms of work."""
PAUSE_SECS = 0.0001
"""A pause of 0 would do nothing: the GIL is back before a waiting thread has woken up."""


def encode(metrics: Iterable[Metric]) -> bytes:
    """The families as text. For another thread than the event loop's, to which it leaves the GIL again and again.

    What Python does by itself would let the loop wait for 5 ms at a time, and longer for the text to be put together.
    """
    page = BytesIO()
    lines = _lines(metrics)
    while some := list(islice(lines, SLICE)):
        page.write("".join(some).encode("utf-8", "backslashreplace"))
        time.sleep(PAUSE_SECS)
    return page.getvalue()


def _lines(metrics: Iterable[Metric]) -> Iterator[str]:
    for metric in metrics:
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        yield f"# HELP {name} {_escape_help(metric.documentation)}\n# TYPE {name} {metric.type}\n"
        for sample in metric.samples:
            labels = sample.labels
            if labels:
                pairs = ",".join([f'{key}="{_escape(labels[key])}"' for key in sorted(labels)])
                yield f"{sample.name}{{{pairs}}} {number(sample.value)}\n"
            else:
                yield f"{sample.name} {number(sample.value)}\n"


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
