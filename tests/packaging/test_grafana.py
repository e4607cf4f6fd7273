"""The Grafana dashboard: every query names metrics and labels that exist, and every family of our own is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest

from fd_router.observe.metrics import FAMILIES, Family

DASHBOARD = Path(__file__).parents[2] / "config" / "grafana" / "fd-router.json"
SCRAPED = {"job", "instance"}
"""Labels that Prometheus itself puts on every sample."""

GRAFANA_S = re.compile(r"\$__\w+")
"""What Grafana fills in, all of them durations."""
LABEL_VALUES = re.compile(r"label_values\((\w+), (\w+)\)")


def sample_names(family: Family) -> dict[str, set[str]]:
    """Names under which a family is stored, and the labels of each."""
    labels = set(family.labels)
    if family.kind == "histogram":
        return {
            f"{family.name}_bucket": labels | {"le"},
            f"{family.name}_sum": labels,
            f"{family.name}_count": labels,
        }
    if family.kind == "summary":
        return {
            family.name: labels | {"quantile"},
            f"{family.name}_sum": labels,
            f"{family.name}_count": labels,
        }
    return {family.name: labels}


KNOWN = {name: labels for family in FAMILIES for name, labels in sample_names(family).items()}


class Words:
    """The selectors and the labels of a query. Raises `ValueError` for one that Prometheus would refuse."""

    def __init__(self, query: str) -> None:
        self.selectors: list[promql.VectorSelector] = []
        self.labels: set[str] = set()
        promql.walk(promql.parse(GRAFANA_S.sub("5m", query)), self._note)

    @property
    def metrics(self) -> set[str]:
        return {selector.name for selector in self.selectors if selector.name}

    def _note(self, node: promql.Expr) -> None:
        match node:
            case promql.VectorSelector():
                self.selectors.append(node)
                self.labels |= {matcher.name for matcher in node.matchers.matchers}
            case promql.MatrixSelector():
                self._note(node.vector_selector)
            case promql.AggregateExpr() if node.modifier is not None:
                self.labels |= set(node.modifier.labels)
            case promql.BinaryExpr() if node.modifier is not None:
                self.labels |= set(node.modifier.group_labels or ())
                if node.modifier.matching is not None:
                    self.labels |= set(node.modifier.matching.labels)


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


TARGETS = [
    pytest.param(target, id=f"{panel['title']} {target['refId']}")
    for panel in panels()
    for target in panel["targets"]
]


def test_the_check_itself() -> None:
    words = Words('sum by (le) (rate(a_bucket{job=~"$job"}[$__rate_interval])) / on (x) group_left (y) b')
    assert (words.metrics, words.labels) == ({"a_bucket", "b"}, {"le", "job", "x", "y"})
    for wrong in ("rate(a[5m]", "rate(a)", "nonsense(a)", "sum by (le) a{"):
        with pytest.raises(ValueError, match=r"."):
            Words(wrong)


@pytest.mark.parametrize("target", TARGETS)
def test_query_names_what_exists(target: dict[str, str]) -> None:
    words = Words(target["expr"])
    assert words.metrics
    assert words.metrics <= set(KNOWN)
    known = SCRAPED.union(*(KNOWN[name] for name in words.metrics))
    assert words.labels <= known
    assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= known


@pytest.mark.parametrize("target", TARGETS)
def test_query_is_limited_to_the_chosen_routers(target: dict[str, str]) -> None:
    for selector in Words(target["expr"]).selectors:
        matchers = {(each.name, each.value) for each in selector.matchers.matchers}
        assert {("job", "$job"), ("instance", "$instance")} <= matchers
        assert all(
            each.op == promql.MatchOp.Re for each in selector.matchers.matchers if each.name in SCRAPED
        )


def test_variables_name_what_exists() -> None:
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            found = LABEL_VALUES.fullmatch(re.sub(r"{.*?}", "", variable["query"]))
            assert found, variable["query"]
            assert found[1] in KNOWN
            assert found[2] in SCRAPED


def test_every_family_of_our_own_is_shown() -> None:
    shown = {
        name for panel in panels() for target in panel["targets"] for name in Words(target["expr"]).metrics
    }
    for family in FAMILIES:
        if not family.name.startswith("process_"):
            assert shown & set(sample_names(family)), f"{family.name} is on no panel"


def test_panels_are_complete_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    numbers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(numbers)) == len(numbers)
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_rows_are_the_questions_of_an_operator() -> None:
    rows = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
    assert rows == [
        "Traffic",
        "Latency",
        "Cache and policies",
        "Workers",
        "Prefill and decode",
        "Errors",
        "Router",
        "Replicas",
    ]
