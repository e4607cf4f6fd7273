"""What `/metrics` answers: the table of families is kept, counts are right, labels are bounded."""

from __future__ import annotations

import inspect
import threading
import tracemalloc
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

import fd_router
from fd_router import errors
from fd_router.observe.metrics import CONTENT_TYPE, FAMILIES, Metrics, markdown_table, text
from rig.exposition import Metrics as Scrape
from rig.scraped import Fleet, Scheduler, bound

A, B = "http://10.0.0.1:8000", "http://10.0.0.2:8000"


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler([(A, "mixed", 2, 10), (B, "mixed", 0, 0)], {A: 640.0})


@pytest.fixture
def metrics(scheduler: Scheduler) -> Metrics:
    return bound(scheduler, Fleet({A: True, B: False}))


def feed(metrics: Metrics) -> None:
    """Call everything once."""
    metrics.counted.answered(A, 200)
    metrics.counted.first_byte(A, 200, 0.2)
    metrics.counted.first_byte(B, 503, 0.001)
    metrics.prefill(A, 0.1)
    metrics.duration(2.0)
    metrics.upstream_error(A, "refused")
    metrics.retry(A)
    metrics.ejected(A)
    metrics.passed_over(B)
    metrics.pair("completed")
    metrics.probe(A, True)
    metrics.probe("", False)
    metrics.flip("down")
    metrics.client_gone("answer")
    metrics.rejected("no_worker")


def scrape(metrics: Metrics) -> Scrape:
    return Scrape.parse(metrics.render().decode())


def test_a_scrape_holds_the_families_of_the_table_and_no_others(metrics: Metrics) -> None:
    feed(metrics)
    found = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels}
        found[name] = (family.type, family.documentation, labels - {"le", "quantile"})
    assert found == {family.name: (family.kind, family.help, set(family.labels)) for family in FAMILIES}


def test_upstream_s_families() -> None:
    upstream = {family.name: (family.kind, family.labels, family.help) for family in FAMILIES[:5]}
    assert upstream == {
        "inference_requests_total": (
            "counter",
            ("mixed_worker", "prefill_worker", "decode_worker", "status_code"),
            "Total number of inference requests",
        ),
        "router_cache_hit_total": (
            "counter",
            (),
            "Cumulative number of cache hits (same session_id routed to same prefill worker)",
        ),
        "router_cache_request_total": (
            "counter",
            (),
            "Cumulative number of cache-aware scheduling requests with session_id",
        ),
        "http_requests_total": (
            "counter",
            ("method", "endpoint", "status_code"),
            "Total number of HTTP requests",
        ),
        "http_request_duration_seconds": (
            "summary",
            ("method", "endpoint"),
            "Summary of the response latency (seconds) of HTTP requests",
        ),
    }


def test_text_is_that_of_the_go_client(metrics: Metrics) -> None:
    metrics.counted.answered(A, 200)
    lines = metrics.render().decode().splitlines()
    assert (
        f'inference_requests_total{{decode_worker="",mixed_worker="{A}",prefill_worker="",status_code="200"}} 1'
        in lines
    )
    assert "router_cache_hit_total 3" in lines
    assert "router_cache_request_total 5" in lines
    assert not [line for line in lines if "_created" in line]
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"


def test_a_fresh_router_shows_zeros() -> None:
    lines = Metrics().render().decode().splitlines()
    assert "router_cache_hit_total 0" in lines
    assert "router_cache_request_total 0" in lines
    assert 'fd_router_upstream_errors_total{kind="refused",worker=""} 0' in lines
    assert 'fd_router_probes_total{result="failed",worker=""} 0' in lines


def test_sources_are_read_at_each_scrape(metrics: Metrics, scheduler: Scheduler) -> None:
    found = scrape(metrics)
    assert found.value("fd_router_worker_running", worker=A, role="mixed") == 2
    assert found.value("fd_router_worker_tokens", worker=A, role="mixed") == 10
    assert found.value("fd_router_workers", role="mixed") == 2
    tree = [found.value(f"fd_router_tree_{what}") for what in ("blocks", "nodes", "bytes")]
    assert tree == [11, 12, 13]
    assert found.value("fd_router_tree_evicted_blocks_total") == 14
    assert found.value("fd_router_tree_expired_blocks_total") == 15
    kinds = ("prompt", "predicted_cached", "cached")
    assert [found.value(f"fd_router_{kind}_tokens_total") for kind in kinds] == [41, 42, 43]
    assert found.value("fd_router_overpredicted_tokens_total") == 44
    assert found.value("fd_router_worker_cache_tokens", worker=A) == 640
    assert found.value("fd_router_upstream_exchanges") == 21
    assert found.value("fd_router_upstream_idle_connections") == 22
    assert found.value("fd_router_upstream_connections_total") == 23
    assert found.value("fd_router_upstream_resends_total") == 26
    assert found.value("fd_router_upstream_chunks_total") == 24
    assert found.value("fd_router_upstream_bytes_total") == 25
    assert found.value("fd_router_chunk_gap_seconds_count") == 3
    assert found.value("fd_router_chunk_gap_seconds_sum") == 60.5
    assert found.value("fd_router_log_lines_lost_total") == 31
    assert [found.value("fd_router_worker_up", worker=each) for each in (A, B)] == [1, 0]
    assert found.value("fd_router_build_info", version=fd_router.__version__) == 1
    scheduler.workers = [(A, "prefill", 7, 0)]
    found = scrape(metrics)
    assert found.value("fd_router_worker_running", worker=A, role="prefill") == 7
    shown = {sample.name for sample in found if sample.labels.get("worker") == B}
    assert shown == {"fd_router_worker_up"}


def test_every_call_is_counted(metrics: Metrics) -> None:
    for _ in range(3):
        feed(metrics)
    found = scrape(metrics)
    assert found.value("inference_requests_total", mixed_worker=A) == 3
    assert (
        found.value("http_requests_total", method="POST", endpoint="/v1/chat/completions", status_code="200")
        == 3
    )
    assert found.value("http_request_duration_seconds", quantile="0.95") == 0.25
    assert found.value("http_request_duration_seconds", quantile="0.99") == 0.5
    assert found.value("http_request_duration_seconds_count") == 4
    assert found.value("http_request_duration_seconds_sum") == 0.75
    assert found.value("fd_router_decisions_total", policy="cache_aware", outcome="chosen") == 3
    assert found.value("fd_router_hit_ratio_bucket", le="0.4") == 0
    assert found.value("fd_router_hit_ratio_bucket", le="0.5") == 3
    assert found.value("fd_router_ttft_seconds_count", worker=A, status_class="2xx") == 3
    assert found.value("fd_router_ttft_seconds_count", worker=B, status_class="5xx") == 3
    assert found.value("fd_router_ttft_seconds_bucket", worker=A, le="0.25") == 3
    assert found.value("fd_router_ttft_seconds_bucket", worker=A, le="0.1") == 0
    assert found.value("fd_router_prefill_seconds_count", worker=A) == 3
    assert found.value("fd_router_request_duration_seconds_sum") == 6
    assert found.value("fd_router_upstream_errors_total", kind="refused", worker=A) == 3
    assert found.value("fd_router_retries_total", worker=A) == 3
    assert found.value("fd_router_ejections_total", worker=A) == 3
    assert found.value("fd_router_passed_over_total", worker=B) == 3
    assert found.value("fd_router_pairs_total", outcome="completed") == 3
    assert found.value("fd_router_probes_total", result="ok", worker=A) == 3
    assert found.value("fd_router_probes_total", result="failed", worker="") == 3
    assert found.value("fd_router_health_flips_total", direction="down") == 3
    assert found.value("fd_router_client_disconnects_total", phase="answer") == 3
    assert found.value("fd_router_rejected_requests_total", code="no_worker") == 3


def test_who_answered_what(metrics: Metrics) -> None:
    assert metrics.answered() == ({}, {}, 0, 0)
    metrics.upstream_error(A, "refused")
    metrics.upstream_error(A, "refused")
    metrics.counted.answered(A, 500)
    metrics.counted.answered(A, 200)
    metrics.counted.answered(B, 429, A)
    found = metrics.answered()
    assert found.answers == {A: 3, B: 1}
    assert found.errors == {A: {"refused": 2, "500": 1}, B: {"429": 1}}
    assert (found.total, found.failed) == metrics.totals() == (3, 1)


def test_labels_are_escaped(metrics: Metrics) -> None:
    url = 'http://"h\\\n'
    metrics.counted.answered(url, 200)
    families = {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}
    assert [sample.labels["mixed_worker"] for sample in families["inference_requests"].samples] == [url]


def test_every_error_code_can_be_counted(metrics: Metrics) -> None:
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.RouterError)
    ]
    for kind in kinds:
        metrics.rejected(kind.code)
    found = scrape(metrics)
    assert found.value("fd_router_rejected_requests_total") == len(kinds)


def test_scrapes_beside_the_loop_s_thread_never_go_backwards(metrics: Metrics) -> None:
    stop = threading.Event()
    seen: list[float] = []

    def scraper() -> None:
        while not stop.is_set():
            seen.append(scrape(metrics).value("inference_requests_total"))

    threads = [threading.Thread(target=scraper) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(50_000):
        metrics.counted.answered(A, 200 + number % 7)
    stop.set()
    for thread in threads:
        thread.join()
    assert max(seen) <= 50_000
    assert scrape(metrics).value("inference_requests_total") == 50_000


def test_markdown_table_has_a_row_for_each_family() -> None:
    rows = markdown_table().splitlines()
    assert len(rows) == len(FAMILIES) + 2
    assert all(row.count("|") == rows[0].count("|") for row in rows)
    for family, row in zip(FAMILIES, rows[2:], strict=True):
        assert row.startswith(f"| `{family.name}` | {family.kind} |")


def test_a_scrape_of_many_workers_pauses_and_keeps_but_its_text(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the event loop waits for the GIL: for the lines of a slice at most, and never for all of them at once."""
    for number in range(1_000):
        url = f"http://10.0.{number // 250}.{number % 250}:8000"
        metrics.counted.answered(url, 200)
        metrics.counted.first_byte(url, 200, 0.2)
        metrics.prefill(url, 0.1)
    pauses: list[float] = []
    monkeypatch.setattr(text, "time", SimpleNamespace(sleep=pauses.append))
    tracemalloc.start()
    try:
        page = metrics.render()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    lines = page.count(b"\n")
    assert lines > 30_000
    assert len(pauses) >= lines // text.SLICE
    assert min(pauses) > 0
    assert peak < 3 * len(page), "samples are made one at a time: each is several times as large as its line"
