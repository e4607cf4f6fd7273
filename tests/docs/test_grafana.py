"""The Grafana dashboard: every query names metrics and labels that exist, and every family of our own is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fd_router.observe.metrics import FAMILIES, Family

DASHBOARD = Path(__file__).parents[2] / "config" / "grafana" / "fd-router.json"
SCRAPED = {"job", "instance"}
"""Labels that Prometheus itself puts on every sample."""

FUNCTIONS = {"sum", "max", "rate", "increase", "histogram_quantile", "time", "label_values"}
KEYWORDS = {"by", "on", "group_left"}
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\$?\w+|\S')


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


def words(query: str) -> tuple[set[str], set[str]]:
    """Metric names and label names of a query. Raises `AssertionError` for a word that is neither."""
    metrics: set[str] = set()
    labels: set[str] = set()
    tokens = TOKEN.findall(query)
    for before, token, after in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False):
        if not re.fullmatch(r"[A-Za-z_]\w*", token) or token in KEYWORDS:
            continue
        if after == "=":
            labels.add(token)
        elif token in FUNCTIONS:
            continue
        elif token in KNOWN:
            metrics.add(token)
        else:
            assert before in {"(", ","}, f"{token} is no metric, in {query}"
            assert after in {")", ","}, f"{token} is no metric, in {query}"
            labels.add(token)
    return metrics, labels


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


def test_the_check_itself_sees_wrong_names() -> None:
    assert words('sum by (le) (rate(fd_router_ttft_seconds_bucket{job=~"$job"}[$__rate_interval]))') == (
        {"fd_router_ttft_seconds_bucket"},
        {"le", "job"},
    )
    with pytest.raises(AssertionError, match="fd_router_nonsense"):
        words("rate(fd_router_nonsense[5m])")


@pytest.mark.parametrize("target", TARGETS)
def test_query_names_what_exists(target: dict[str, str]) -> None:
    metrics, labels = words(target["expr"])
    assert metrics
    known = SCRAPED.union(*(KNOWN[name] for name in metrics))
    assert labels <= known
    assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= known


@pytest.mark.parametrize("target", TARGETS)
def test_query_is_limited_to_the_chosen_routers(target: dict[str, str]) -> None:
    expr = target["expr"]
    selectors = [selector for selector in re.findall(r"{([^}]*)}", expr) if "=" in selector]
    names = [name for name in re.findall(r"\w+", re.sub(r'"[^"]*"', "", expr)) if name in KNOWN]
    assert len(selectors) == len(names)
    assert all('job=~"$job"' in selector and 'instance=~"$instance"' in selector for selector in selectors)


@pytest.mark.parametrize("target", TARGETS)
def test_brackets_are_balanced(target: dict[str, str]) -> None:
    bare = re.sub(r'"[^"]*"', "", target["expr"])
    for pair in ("()", "{}", "[]"):
        assert bare.count(pair[0]) == bare.count(pair[1])


def test_variables_name_what_exists() -> None:
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            metrics, labels = words(variable["query"])
            assert metrics
            assert labels <= SCRAPED


def test_every_family_of_our_own_is_shown() -> None:
    shown = set().union(*(words(target["expr"])[0] for panel in panels() for target in panel["targets"]))
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
    ]
