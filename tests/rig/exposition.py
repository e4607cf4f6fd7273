"""Reads Prometheus text, and holds a scrape against the one before."""

from __future__ import annotations

import re
from typing import NamedTuple

SAMPLE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
KIND = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)
PART = re.compile(r"(.+)_(?:bucket|count|sum)")
"""What histograms and summaries count; a summary's quantiles have the name of the family, and go up and down."""

WORKER = "'http"
"""In the labels of a series, where a worker's url begins."""


class Sample(NamedTuple):
    """One line of a scrape."""

    name: str
    labels: dict[str, str]
    value: float


class Metrics(list[Sample]):
    """One scrape; `kinds` has the type of each family."""

    kinds: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Metrics:
        scrape = cls(
            Sample(name, dict(LABEL.findall(labels)), float(value))
            for name, labels, value in SAMPLE.findall(text)
        )
        scrape.kinds = dict(KIND.findall(text))
        return scrape

    def value(self, name: str, **labels: str) -> float:
        """The sum over the samples that have these labels; 0 where there is none."""
        return sum(
            sample.value for sample in self if sample.name == name and labels.items() <= sample.labels.items()
        )

    def names(self) -> set[str]:
        return {sample.name for sample in self}

    def counts(self) -> dict[str, float]:
        """The samples that may only grow, by series: those of counters, and what histograms and summaries count."""

        def grows(name: str) -> bool:
            part = PART.fullmatch(name)
            family = self.kinds.get(part[1]) if part else None
            return self.kinds.get(name) == "counter" or family in ("histogram", "summary")

        return {
            f"{sample.name}{sorted(sample.labels.items())}": sample.value
            for sample in self
            if grows(sample.name)
        }

    def assert_follows(self, earlier: Metrics, *, forgets: bool = False) -> None:
        """No count is lower than in an earlier scrape of the same process, and none is missing.

        A router that runs for long `forgets` the series of workers that left.
        """
        now = self.counts()
        for series, before in earlier.counts().items():
            if forgets and series not in now and WORKER in series:
                continue
            assert series in now, f"{series} was {before}, and is gone"
            assert now[series] >= before, f"{series} was {before}, and is {now[series]}"
