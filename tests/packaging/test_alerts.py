"""The alert rules name what exists, Prometheus takes them, and each fires for what it is for and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from recipe import ROOT
from test_grafana import KNOWN, SCRAPED, Words

if TYPE_CHECKING:
    from pathlib import Path

RULES = ROOT / "config" / "prometheus" / "alerts.yaml"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not on PATH (Debian: apt-get install prometheus)"
)
LATER = 60
"""Minutes for which the series of a scene go on."""


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def promtool(*arguments: str) -> None:
    ended = subprocess.run(
        [str(PROMTOOL), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_names_what_exists(rule: dict[str, Any]) -> None:
    words = Words(rule["expr"])
    assert words.metrics
    assert words.metrics <= set(KNOWN)
    known = SCRAPED.union(*(KNOWN[name] for name in words.metrics))
    assert words.labels <= known
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description"}


@needs_promtool
def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", str(RULES))


def steady(value: int) -> str:
    return f"{value}x{LATER}"


def growing(by: float) -> str:
    return f"0+{by}x{LATER}"


def first_bytes(worker: str, quick: int, slow: int, family: str = "fd_router_ttft_seconds") -> dict[str, str]:
    """A worker with so many answers a minute that begin after 0.2 s, and so many that begin after 20 s."""
    status = ', status_class="2xx"' if "ttft" in family else ""
    label = f'{family}_bucket{{worker="{worker}"{status}, le="%s"}}'
    counts = {"0.5": quick, "10": quick, "30": quick + slow, "+Inf": quick + slow}
    found = {label % le: growing(count) for le, count in counts.items()}
    return found | means(worker, quick + slow, 0.2 * quick + 20 * slow, family)


def means(worker: str, answers: int, secs: float, family: str = "fd_router_ttft_seconds") -> dict[str, str]:
    """A worker with so many answers a minute, which take so long to their first bytes, all together."""
    status = ', status_class="2xx"' if "ttft" in family else ""
    labels = f'{{worker="{worker}"{status}}}'
    return {f"{family}_count{labels}": growing(answers), f"{family}_sum{labels}": growing(secs)}


WELL = {
    'fd_router_worker_up{worker="a", role="mixed"}': steady(1),
    'fd_router_workers{role="mixed"}': steady(2),
    'fd_router_workers{role="prefill"}': steady(0),
    'fd_router_workers{role="decode"}': steady(0),
    'http_requests_total{endpoint="/v1/completions", status_code="200"}': growing(1000),
    'http_requests_total{endpoint="/v1/completions", status_code="502"}': growing(10),
    'http_requests_total{endpoint="/register", status_code="503"}': growing(500),
    'fd_router_upstream_errors_total{worker="", kind="refused"}': growing(60),
    'fd_router_upstream_errors_total{worker="a", kind="refused"}': growing(1),
    'fd_router_rejected_requests_total{code="bad_request"}': growing(60),
    "fd_router_prompt_tokens_total": growing(1000),
    "fd_router_overpredicted_tokens_total": growing(100),
    "fd_router_log_lines_lost_total": steady(7),
    "fd_router_snapshot_age_seconds": steady(29),
    "fd_router_cluster_sharing": steady(1),
    **first_bytes("a", 60, 1),
    **first_bytes("b", 60, 1),
    # Fast errors do not hide it, and slow ones do not raise it.
    'fd_router_ttft_seconds_bucket{worker="a", status_class="5xx", le="30"}': growing(1000),
    'fd_router_ttft_seconds_bucket{worker="a", status_class="5xx", le="+Inf"}': growing(1000),
    'fd_router_ttft_seconds_count{worker="a", status_class="5xx"}': growing(1000),
    'fd_router_ttft_seconds_sum{worker="a", status_class="5xx"}': growing(20_000),
}
"""A router that has nothing to complain of."""
PD = {
    'fd_router_workers{role="mixed"}': steady(0),
    'fd_router_workers{role="prefill"}': steady(1),
    'fd_router_workers{role="decode"}': steady(1),
}
SCENES: dict[str, tuple[str | None, dict[str, str], dict[str, str]]] = {
    "well": (None, {}, {}),
    "well in PD mode": (None, PD, {}),
    "an engine is down": (
        "FdRouterEngineDown",
        {'fd_router_worker_up{worker="b", role="mixed"}': steady(0)},
        {"worker": "b", "role": "mixed"},
    ),
    "an engine is down for a moment": (
        None,
        {'fd_router_worker_up{worker="b", role="mixed"}': f"1x10 0x1 1x{LATER}"},
        {},
    ),
    "nobody is left": ("FdRouterNoPair", {'fd_router_workers{role="mixed"}': steady(0)}, {}),
    "no decode": ("FdRouterNoPair", PD | {'fd_router_workers{role="decode"}': steady(0)}, {}),
    "no prefill": ("FdRouterNoPair", PD | {'fd_router_workers{role="prefill"}': steady(0)}, {}),
    "requests without a pair": (
        "FdRouterNoPair",
        {'fd_router_rejected_requests_total{code="no_pair"}': growing(6)},
        {},
    ),
    "it does not reach the other replicas": ("FdRouterAlone", {"fd_router_cluster_sharing": steady(0)}, {}),
    "it was out of their reach for a moment": (
        None,
        {"fd_router_cluster_sharing": f"1x10 0x1 1x{LATER}"},
        {},
    ),
    "requests fail": (
        "FdRouterErrors",
        {'http_requests_total{endpoint="/v1/completions", status_code="502"}': growing(100)},
        {},
    ),
    "one engine's exchanges fail": (
        "FdRouterEngineErrors",
        {'fd_router_upstream_errors_total{worker="b", kind="reset_before_head"}': growing(60)},
        {"worker": "b"},
    ),
    "the first byte is late": (
        "FdRouterFirstByteSlow",
        first_bytes("a", 60, 10) | first_bytes("b", 60, 10),
        {},
    ),
    "one engine of three is slow": ("FdRouterEngineSlow", means("c", 6, 6 * 3.2), {"worker": "c"}),
    "one engine is three seconds slower where all are slow": (
        "FdRouterEngineSlow",
        means("a", 60, 60 * 2.0) | means("b", 60, 60 * 5.0),
        {"worker": "b"},
    ),
    "one engine is half a second slower": (None, means("c", 60, 60 * 1.2), {}),
    "one prefill engine of three is slow": (
        "FdRouterEngineSlow",
        first_bytes("p", 60, 0, "fd_router_prefill_seconds")
        | first_bytes("q", 60, 0, "fd_router_prefill_seconds")
        | first_bytes("r", 0, 60, "fd_router_prefill_seconds"),
        {"worker": "r"},
    ),
    "caches have lost what is expected": (
        "FdRouterOverprediction",
        {"fd_router_overpredicted_tokens_total": growing(300)},
        {},
    ),
    "no snapshot is written": ("FdRouterSnapshotOld", {"fd_router_snapshot_age_seconds": growing(60)}, {}),
    "log lines are lost": ("FdRouterLogLinesLost", {"fd_router_log_lines_lost_total": growing(2)}, {}),
}


def test_every_rule_has_a_scene() -> None:
    assert {alert for alert, _, _ in SCENES.values() if alert} == {rule["alert"] for rule in rules()}


@needs_promtool
@pytest.mark.parametrize("scene", SCENES)
def test_an_alert_fires_for_what_it_is_for(scene: str, tmp_path: Path) -> None:
    alert, changed, labels = SCENES[scene]
    series = [
        {
            "series": (name[:-1] + ', instance="r"}') if "{" in name else f'{name}{{instance="r"}}',
            "values": values,
        }
        for name, values in (WELL | changed).items()
    ]
    expected = []
    for rule in rules():
        name, fires = rule["alert"], rule["alert"] == alert
        # What a summary says of a value is Prometheus' to word; here it is of interest who is named.
        expected.append({"expr": f'count(ALERTS{{alertname="{name}"}}) or vector(0)', "fires": int(fires)})
    document = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": series,
                "promql_expr_test": [
                    {
                        "expr": each["expr"],
                        "eval_time": "45m",
                        "exp_samples": [{"labels": "{}", "value": each["fires"]}],
                    }
                    for each in expected
                ]
                + [
                    {
                        "expr": f'sum by ({", ".join(labels)}) (ALERTS{{alertname="{alert}", alertstate="firing"}})',
                        "eval_time": "45m",
                        "exp_samples": [
                            {
                                "labels": "{"
                                + ", ".join(f'{key}="{text}"' for key, text in labels.items())
                                + "}",
                                "value": 1,
                            }
                        ],
                    }
                    for _ in [alert]
                    if alert
                ],
            }
        ],
    }
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump(document))
    promtool("test", "rules", str(path))
