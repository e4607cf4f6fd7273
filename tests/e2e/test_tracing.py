"""Spans, by the true SDK, as a collector on loopback gets them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from rig import Peer, RawWorker, Router, Stage, reply, sse_head, wait_for
from rig.router import chat_body

CHAT = "/v1/chat/completions"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SERVER, CLIENT = 2, 3


class Span:
    """A span that a collector got."""

    def __init__(self, span: Any) -> None:
        self.name: str = span.name
        self.kind: int = span.kind
        self.trace: str = span.trace_id.hex()
        self.id: str = span.span_id.hex()
        self.parent: str = span.parent_span_id.hex()
        self.events = [event.name for event in span.events]
        self.ill = span.status.code == 2
        self.secs = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
        self.facts: dict[str, Any] = {
            each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes
        }


class Collector:
    """Takes OTLP over HTTP."""

    def __init__(self, stage: Stage) -> None:
        self.services: set[str] = set()
        self.spans: list[Span] = []
        self.worker = stage.raw_worker(self._take)

    def _take(self, peer: Peer) -> bytes:
        assert peer.path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(peer.body).resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.services.add(names["service.name"])
            for scope in resource.scope_spans:
                self.spans += map(Span, scope.spans)
        return reply(b"", content_type="application/x-protobuf")

    def wait(self, names: Iterable[str]) -> list[Span]:
        """The spans, once there are those of these names."""
        wanted = sorted(names)
        return wait_for(
            lambda: self.spans if sorted(each.name for each in self.spans) == wanted else None,
            why=lambda: str(sorted(each.name for each in self.spans)),
        )


@pytest.fixture
def collector(stage: Stage) -> Collector:
    return Collector(stage)


@pytest.fixture
def start(stage: Stage, collector: Collector) -> Callable[..., Router]:
    def start(config: str = "", *arguments: str, **env: str) -> Router:
        more = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.worker.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        return stage.start_router("log: {tracing: true}\n" + config, *arguments, env=more | env)

    return start


def add(stage: Stage, router: Router, answer: Any, role: str = "mixed") -> RawWorker:
    worker = stage.raw_worker(answer)
    assert router.register(worker.port, role).status_code == 200
    return worker


def parent_of(worker: RawWorker, hit: int = -1) -> tuple[str, str]:
    """Trace and span that a worker was told of."""
    (value,) = worker.hits[hit].header("traceparent")
    _, trace, span, _ = value.split("-")
    return trace, span


def stream(peer: Peer) -> None:
    peer.send(sse_head() + b"data: 1\n\ndata: [DONE]\n\n")
    peer.close()


@pytest.mark.parametrize("streamed", [False, True])
def test_a_request_is_part_of_its_client_s_trace(
    stage: Stage, start: Callable[..., Router], collector: Collector, streamed: bool
) -> None:
    router = start()
    worker = add(stage, router, stream if streamed else lambda _: reply(b"{}"))
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=b"}
    answer = router.post(CHAT, chat_body("hello", stream=streamed), headers=headers)
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, TRACE)
    spans = {each.name: each for each in collector.wait([f"POST {CHAT}", "select", "attempt"])}
    request, select, attempt = spans[f"POST {CHAT}"], spans["select"], spans["attempt"]
    assert {each.trace for each in spans.values()} == {TRACE}
    assert request.parent == PARENT
    assert select.parent == attempt.parent == request.id
    assert parent_of(worker) == (TRACE, attempt.id)
    assert worker.hits[-1].header("tracestate") == ["a=b"]
    assert (request.kind, attempt.kind) == (SERVER, CLIENT)
    assert attempt.events == ["first byte"]
    assert request.secs >= attempt.secs > 0
    assert not any(each.ill for each in spans.values())
    facts = {
        "http.request.method": "POST",
        "url.path": CHAT,
        "client.address": "127.0.0.1",
        "http.response.status_code": 200,
    }
    assert request.facts == facts | {"fd_router.request_id": TRACE, "fd_router.attempts": 1}
    assert select.facts == {
        "fd_router.role": "mixed",
        "fd_router.worker": worker.url,
        "fd_router.policy": "request_num",
    }
    assert attempt.facts == {
        "url.full": worker.url + CHAT,
        "fd_router.attempt": 1,
        "fd_router.role": "mixed",
        "http.response.status_code": 200,
    }
    assert collector.services == {"fd-router"}


def test_each_attempt_is_a_span(stage: Stage, start: Callable[..., Router], collector: Collector) -> None:
    router = start(OTEL_SERVICE_NAME="mine")
    workers = sorted((stage.raw_worker(lambda peer: peer.reset()) for _ in range(2)), key=lambda one: one.url)
    for worker in workers:
        assert router.register(worker.port).status_code == 200
    workers[1].answer = lambda _: reply(b"{}")
    assert router.post(CHAT, chat_body("hello")).status_code == 200
    spans = collector.wait([f"POST {CHAT}", "select", "select", "attempt", "attempt"])
    lost, well = sorted((each for each in spans if each.name == "attempt"), key=lambda one: not one.ill)
    assert (lost.facts["error.type"], lost.ill, lost.events) == ("reset_before_head", True, [])
    assert (lost.facts["fd_router.attempt"], well.facts["fd_router.attempt"]) == (1, 2)
    assert (well.facts["url.full"], well.ill) == (workers[1].url + CHAT, False)
    assert [parent_of(worker)[1] for worker in workers] == [lost.id, well.id]
    assert collector.services == {"mine"}


def test_an_answer_that_broke_off_is_no_good_one(
    stage: Stage, start: Callable[..., Router], collector: Collector
) -> None:
    def breaks(peer: Peer) -> None:
        peer.send(sse_head() + b"data: {}\n\n")
        peer.reset()

    router = start()
    add(stage, router, breaks)
    assert router.post(CHAT, chat_body("hello", stream=True)).status_code == 200
    spans = collector.wait([f"POST {CHAT}", "select", "attempt"])
    why = {each.name: each.facts["error.type"] for each in spans if each.ill}
    assert why == {f"POST {CHAT}": "reset_mid_body", "attempt": "reset_mid_body"}


def test_both_legs_of_a_pair(stage: Stage, start: Callable[..., Router], collector: Collector) -> None:
    router = start("", "--splitwise")
    workers = {role: add(stage, router, lambda _: reply(b"{}"), role) for role in ("prefill", "decode")}
    assert router.post(CHAT, chat_body("hello")).status_code == 200
    spans = collector.wait([f"POST {CHAT}", "select", "select", "attempt", "attempt"])
    attempts = {each.facts["fd_router.role"]: each for each in spans if each.name == "attempt"}
    assert {role: parent_of(worker)[1] for role, worker in workers.items()} == {
        role: each.id for role, each in attempts.items()
    }
    assert {each.facts["fd_router.role"] for each in spans if each.name == "select"} == set(workers)


def test_a_refusal_says_why(start: Callable[..., Router], collector: Collector) -> None:
    router = start("server: {api-keys: [k]}")
    assert router.post(CHAT, chat_body("hello")).status_code == 401
    assert router.post(CHAT, chat_body("hello"), headers={"authorization": "Bearer k"}).status_code == 502
    assert router.get("/health").status_code == 200, "which is no request of a client's"
    spans = collector.wait([f"POST {CHAT}", f"POST {CHAT}", "select"])
    why = sorted(each.facts["error.type"] for each in spans if each.kind == SERVER)
    assert why == ["no_worker", "unauthorized"]
    assert router.stop() == 0


def test_what_is_not_sampled_is_not_sent_but_passed_on(
    stage: Stage, start: Callable[..., Router], collector: Collector
) -> None:
    router = start()
    worker = add(stage, router, lambda _: reply(b"{}"))
    assert (
        router.post(CHAT, chat_body("a"), headers={"traceparent": f"00-{TRACE}-{PARENT}-00"}).status_code
        == 200
    )
    assert parent_of(worker)[0] == TRACE
    assert worker.hits[-1].header("traceparent")[0].endswith("-00")
    assert router.post(CHAT, chat_body("b")).status_code == 200
    assert TRACE not in {each.trace for each in collector.wait([f"POST {CHAT}", "select", "attempt"])}


def test_the_last_spans_are_sent_at_the_end(
    stage: Stage, start: Callable[..., Router], collector: Collector
) -> None:
    router = start(OTEL_BSP_SCHEDULE_DELAY="60000")
    add(stage, router, lambda _: reply(b"{}"))
    assert router.post(CHAT, chat_body("hello")).status_code == 200
    assert not collector.spans
    assert router.stop() == 0
    collector.wait([f"POST {CHAT}", "select", "attempt"])


def test_without_a_collector_requests_go_on(stage: Stage, start: Callable[..., Router]) -> None:
    nobody = stage.raw_worker(lambda _: None)
    nobody.stop()
    router = start(OTEL_EXPORTER_OTLP_ENDPOINT=nobody.url)
    add(stage, router, lambda _: reply(b"{}"))
    for _ in range(3):
        assert router.post(CHAT, chat_body("hello")).status_code == 200
    router.wait_log(r"^\[WARN\] .*\[fd-router\] trace: spans are lost: ")
    # These cannot be handed over either, at the latest at the end.
    assert router.post(CHAT, chat_body("hello")).status_code == 200
    begun = time.monotonic()
    assert router.stop() == 0
    assert time.monotonic() - begun < 20
    assert router.log_text().count("spans are lost") == 1


def test_the_extra_is_asked_for(stage: Stage, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("server: {port: 8000}\nlog: {tracing: true}\n")
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['opentelemetry.sdk'] = None\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        ended = stage.run_router("--config_path", str(config))
    assert ended.returncode == 1
    assert "log.tracing needs OpenTelemetry: pip install 'fd-router[otel]'" in ended.stderr


def test_switched_off_nothing_of_it_is_there(stage: Stage) -> None:
    router = stage.start_router()
    worker = add(stage, router, lambda _: reply(b"{}"))
    assert router.post(CHAT, chat_body("hello")).status_code == 200
    assert worker.hits[-1].header("traceparent") == []
    # Whatever a router's process imports; the client of a cluster's server would bring it along.
    there = "import fd_router.cli, fd_router.process.entry, sys; print({*sys.modules} & {'opentelemetry', 'redis'})"
    assert subprocess.run([sys.executable, "-c", there], capture_output=True, check=True).stdout == b"set()\n"
