"""Reads Prometheus text."""

from __future__ import annotations

import re
from typing import NamedTuple

SAMPLE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Sample(NamedTuple):
    """One line of a scrape."""

    name: str
    labels: dict[str, str]
    value: float


class Metrics(list[Sample]):
    """One scrape."""

    @classmethod
    def parse(cls, text: str) -> Metrics:
        return cls(
            Sample(name, dict(LABEL.findall(labels)), float(value))
            for name, labels, value in SAMPLE.findall(text)
        )

    def value(self, name: str, **labels: str) -> float:
        """The sum over the samples that have these labels; 0 where there is none."""
        return sum(
            sample.value for sample in self if sample.name == name and labels.items() <= sample.labels.items()
        )

    def names(self) -> set[str]:
        return {sample.name for sample in self}
