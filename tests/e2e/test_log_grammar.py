"""A whole run's log, read by the grammar: no unknown line, every select released, ids that try to break lines."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from rig import Engine, Router, wait_for
from rig.log_grammar import Report, check
from rig.router import chat_body

NASTY = ["100%d", "line\nbreak", "a] [request_id:forged", "\u2028\x85\x1b[31m", "x" * 1000]
LAST = "/registered"


def traffic(router: Router) -> int:
    """Requests of every kind; returns how many HTTP requests were sent."""
    bodies = [
        chat_body("hello there my friend", session_id=session, req_id="q", stream=stream)
        for session in NASTY
        for stream in (False, True)
    ]
    for body in bodies:
        answer = router.post(
            "/v1/chat/completions", content=json.dumps(body).encode(), headers={"x_bd_logid": "t"}
        )
        assert answer.status_code == 200
    refused = [
        router.post(path, content=b"[]") for path in ("/v1/chat/completions", "/v1/completions", "/register")
    ]
    assert [answer.status_code for answer in refused] == [400, 400, 400]
    seen = [router.get(path).status_code for path in ("/nope%20x?y=%0A", "/health_generate", LAST)]
    assert seen == [404, 200, 200]
    return len(bodies) + len(refused) + len(seen)


def whole_log(router: Router) -> Report:
    """The log once the line of the last request is written, which is after the answer; without problems."""

    def whole() -> Report | None:
        report = check(router.log_text())
        last = any(line.kind == "access" and line.parts["path"] == LAST for line in report.lines)
        return report if last and not report.problems else None

    return wait_for(whole, why=lambda: "\n".join(check(router.log_text()).problems) or "no last line")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_mixed_mode(
    start_router: Callable[..., Router], start_engines: Callable[..., list[Engine]], log_format: str
) -> None:
    router = start_router(
        f"{{scheduler: {{policy: cache_aware, cache-block-size: 4}}, log: {{level: debug, format: {log_format}}}}}"
    )
    start_engines(2, router)
    sent = traffic(router)
    report = whole_log(router)
    requests = 2 * len(NASTY)
    assert report.count("select") == report.count("release") == report.count("scored") == requests
    assert report.count("completed") == requests
    assert report.count("access") >= sent
    tagged = [line for line in report.lines if line.kind == "completed"]
    assert all(line.tags["trace_id"] == "t" and line.tags["req_id"] == "q" for line in tagged)
    in_text = {
        "100%d",
        "line\\nbreak",
        "a\\x5d \\x5brequest_id:forged",
        "\\u2028\\x85\\x1b\\x5b31m",
        "x" * 128 + "...",
    }
    # JSON has an escape of its own: what is read there is what was sent.
    sent_ids = {"100%d", "line\nbreak", "a] [request_id:forged", "\u2028\x85\x1b[31m", "x" * 128 + "..."}
    expected = in_text if log_format == "text" else sent_ids
    assert {line.tags["session_id"] for line in tagged} == expected


def test_stats_line_comes_when_nothing_happens(start_router: Callable[..., Router]) -> None:
    router = start_router("scheduler: {stats-interval-secs: 0.05}")
    wait_for(lambda: check(router.log_text()).count("stats") > 1)
    assert check(router.log_text()).problems == []


def test_pd_mode(start_router: Callable[..., Router], start_engine: Callable[..., Engine]) -> None:
    router = start_router("log: {level: debug}", "--splitwise")
    for role in ("prefill", "decode"):
        start_engine(router, role=role)
    router.wait_workers(prefill=1, decode=1)
    traffic(router)
    report = whole_log(router)
    requests = 2 * len(NASTY)
    assert report.count("select") == report.count("release") == 2 * requests
    assert (
        report.count("before prefill")
        == report.count("before decode")
        == report.count("after decode")
        == requests
    )
    assert all("request_id" in line.tags for line in report.lines if line.kind == "completed")
