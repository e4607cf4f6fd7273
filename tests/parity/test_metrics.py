"""Metrics: case 105; case 106 is in `test_start.py`, 107 in `test_cache_aware.py`."""

from __future__ import annotations

import re

from parity.scene import CHAT, add_pair, add_worker
from rig import Router, Stage, reply, wait_for

FAMILIES = {
    "inference_requests_total": ("counter", "Total number of inference requests"),
    "http_requests_total": ("counter", "Total number of HTTP requests"),
    "http_request_duration_seconds": (
        "summary",
        "Summary of the response latency (seconds) of HTTP requests",
    ),
    "router_cache_hit_total": (
        "counter",
        "Cumulative number of cache hits (same session_id routed to same prefill worker)",
    ),
    "router_cache_request_total": (
        "counter",
        "Cumulative number of cache-aware scheduling requests with session_id",
    ),
}


def test_case_105_inference_by_worker_and_status(mixed: Router, stage: Stage) -> None:
    url = add_worker(stage, mixed).url
    assert mixed.chat("hello").status_code == 200
    line = f'inference_requests_total{{decode_worker="",mixed_worker="{url}",prefill_worker="",status_code="200"}} 1'
    assert line in mixed.get("/metrics").text.splitlines()


def test_inference_by_pair(split: Router, stage: Stage) -> None:
    pair = add_pair(stage, split, decode=reply(b"{}", 503))
    assert split.chat("hello").status_code == 503
    prefix = f'inference_requests_total{{decode_worker="{pair.decode.url}",mixed_worker="",'
    line = prefix + f'prefill_worker="{pair.prefill.url}",status_code="503"}} '
    assert any(each.startswith(line) for each in split.get("/metrics").text.splitlines())


def test_what_the_router_refuses_is_no_inference(mixed: Router) -> None:
    def inferences() -> float:
        return mixed.metrics().value("inference_requests_total")

    before = inferences()
    assert mixed.chat("hello").status_code == 502
    assert mixed.post(CHAT, content="x").status_code == 400
    assert inferences() == before


def test_families_of_the_go_router(mixed: Router) -> None:
    """The two of HTTP are declared there and never fed; here they are fed."""
    mixed.get("/registered")
    text = mixed.get("/metrics").text
    for name, (kind, meaning) in FAMILIES.items():
        assert f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n" in text
    for quantile in ("0.95", "0.99"):
        labels = rf'endpoint="/registered",method="GET",quantile="{quantile}"'
        assert re.search(rf"^http_request_duration_seconds{{{labels}}} \d", text, re.M)
    assert not re.search(r"^http_request_duration_seconds_bucket", text, re.M)


def test_http_requests_are_counted(mixed: Router) -> None:
    def counted(status: str) -> float:
        labels = {"method": "POST", "endpoint": CHAT, "status_code": status}
        return mixed.metrics().value("http_requests_total", **labels)

    before = counted("400")
    mixed.post(CHAT, content="x")
    wait_for(lambda: counted("400") == before + 1)
