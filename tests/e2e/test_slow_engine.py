"""One query names the engine that is slow: that of docs/metrics.md and of the alert, which promtool asks of two real
scrapes."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from rig import Engine, Router
    from rig.exposition import Metrics

ROOT = Path(__file__).parents[2]
PROMTOOL = shutil.which("promtool")
QUESTION = "| Which engine's answers begin a second later than the fleet's? | `"
SLOW_SECS = 3.0
EACH = 2
"""Requests to each engine."""


def query() -> str:
    page = (ROOT / "docs" / "metrics.md").read_text()
    return page.partition(QUESTION)[2].partition("`")[0]


def alert() -> str:
    (group,) = yaml.safe_load((ROOT / "config" / "prometheus" / "alerts.yaml").read_text())["groups"]
    (found,) = (rule["expr"] for rule in group["rules"] if rule.get("alert") == "FdRouterEngineSlow")
    return str(found)


def first_bytes(scrape: Metrics) -> dict[str, float]:
    """The series that the query reads, by name and labels."""
    read = [each for each in scrape if re.fullmatch("fd_router_ttft_seconds_(sum|count)", each.name)]
    labels = [", ".join(f'{key}="{value}"' for key, value in each.labels.items()) for each in read]
    return {f"{each.name}{{{of}}}": each.value for each, of in zip(read, labels, strict=True)}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not on PATH (Debian: apt-get install prometheus)")
def test_an_engine_that_is_three_seconds_slower_is_named(
    start_router: Callable[..., Router],
    start_engine: Callable[..., Engine],
    start_engines: Callable[..., list[Engine]],
    tmp_path: Path,
) -> None:
    router = start_router("scheduler: {policy: round_robin}\nmanager: {eject-after-failures: 100}")
    quick, broken = start_engines(2, router)
    slow = start_engine(router, block_secs=SLOW_SECS)
    broken.fault(status=500)
    router.wait_workers(mixed=3)
    before = first_bytes(router.metrics())
    with ThreadPoolExecutor(3 * EACH) as pool:
        statuses = list(pool.map(lambda _: router.chat("hi", max_tokens=1).status_code, range(3 * EACH)))
    assert statuses.count(500) == EACH, "the broken engine fails, fast"
    after = first_bytes(router.metrics())
    assert {name.partition('worker="')[2].partition('"')[0] for name in after} == {
        engine.url for engine in (quick, broken, slow)
    }
    test = {
        "interval": "1m",
        # What a scrape does not have yet counts from 0.
        "input_series": [
            {"series": name, "values": f"{before.get(name, 0)} {value}"} for name, value in after.items()
        ],
        "promql_expr_test": [
            {
                "expr": f"count by (worker) ({expression})",
                "eval_time": "1m",
                "exp_samples": [{"labels": f'{{worker="{slow.url}"}}', "value": 1}],
            }
            for expression in (query(), alert())
        ],
    }
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump({"tests": [test]}))
    ended = subprocess.run(
        [str(PROMTOOL), "test", "rules", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
