"""The log: cases 109 to 116."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from parity import upstream_log
from parity.conftest import NO_ROUNDS
from parity.scene import CHAT, COMPLETIONS, Held, add_pair, add_worker, register, wait_running
from parity.upstream_log import UpstreamLog
from rig import Router, Stage, log_grammar, reply, sse_head, wait_for
from rig.raw_worker import Peer
from rig.router import LogLine, chat_body

Background = Callable[..., Future[Any]]


def folder_of(router: Router) -> Path:
    """The router's working directory."""
    return router.process.log.parent


@pytest.mark.parametrize("path", ["/registered_number", "/registered?a=b&c=%20d", "/nope"])
def test_case_109_access_line(mixed: Router, path: str) -> None:
    status = mixed.get(path, headers={"X-Forwarded-For": "6.6.6.6", "X-Real-IP": "6.6.6.6"}).status_code
    found = mixed.wait_log(rf"^\[INFO\] .*: \[GET\] {re.escape(path)} .*$")
    match = upstream_log.HTTP.search(found[0])
    assert match, found[0]
    method, seen, code, latency, client = match.groups()
    # Anybody can write the two headers; the peer is what the scripts compare with a worker's address.
    assert (method, seen, code, client) == ("GET", path, str(status), "127.0.0.1")
    assert upstream_log.LATENCY.fullmatch(latency)
    assert found[0].endswith(f" {client}")


def test_case_110_tags(split: Router, stage: Stage) -> None:
    add_pair(stage, split)
    body = chat_body("hello", req_id="q", session_id="s", request_id="r")
    assert split.post(CHAT, body, headers={"X_BD_LOGID": "t"}).status_code == 200
    split.wait_log(r"\[POST\] /v1/")
    tags = [("trace_id", "t"), ("req_id", "q"), ("session_id", "s"), ("request_id", "r")]
    lines = [line for line in split.log_lines() if line.tags]
    assert [line.tags for line in lines] == [tags] * len(lines)
    assert lines[0].message == "Parsing completed; starting worker selection."
    assert lines[-1].message.startswith(f"[POST] {CHAT} HTTP/1.1 200 ")
    assert "logger.go" in split.log_text()
    assert "[trace_id:t] [req_id:q] [session_id:s] [request_id:r] Parsing" in split.log_text()


@pytest.mark.parametrize(
    ("fields", "session"),
    [
        ({"session_id": "", "extra_body": {"session_id": "x"}}, "x"),
        ({"session_id": "a", "extra_body": {"session_id": "x"}}, "a"),
        ({"session_id": 7}, None),
        ({"session_id": 7, "extra_body": {"session_id": "x"}}, "x"),
        ({"extra_body": {"session_id": 7}}, None),
        ({"extra_body": "x"}, None),
    ],
    ids=json.dumps,
)
def test_case_108_session_id(
    cached: Router, stage: Stage, fields: dict[str, Any], session: str | None
) -> None:
    add_pair(stage, cached)
    before = cached.metrics().value("router_cache_request_total")
    assert cached.post(CHAT, chat_body("hello", request_id="r", **fields)).status_code == 200
    cached.wait_log(r"\[POST\] /v1/")
    tags = {tag for line in cached.log_lines() for tag in line.tags}
    assert tags == {("request_id", "r")} | ({("session_id", session)} if session else set())
    counted = cached.metrics().value("router_cache_request_total") - before
    assert counted == (1 if session else 0)


def test_case_111_stats_when_idle(mixed: Router, stage: Stage) -> None:
    """The period is 5 s by default."""
    url = add_worker(stage, mixed).url
    rest = r", cache_hit_rate=0\.00% \(hits=0/total=0\)$"
    mixed.wait_log(rf"^\[INFO\] .*: \[stats\] total_running=0, workers: \[{url}: running=0\]{rest}")


def test_stats_without_workers(cached: Router) -> None:
    cached.wait_log(r"\[stats\] total_running=0, workers: \[\], cache_hit_rate=0\.00% \(hits=0/total=0\)$")


def test_stats_count_all_roles(cached: Router, stage: Stage, in_background: Background) -> None:
    held = Held()
    pair = add_pair(stage, cached, held, held)
    under_way = in_background(cached.chat, "hello")
    both = ", ".join(f"{url}: running=1" for url in sorted((pair.prefill.url, pair.decode.url)))
    cached.wait_log(rf"\[stats\] total_running=2, workers: \[{both}\], ")
    held.let_go()
    assert under_way.result().status_code == 200


def test_case_112_files(stage: Stage) -> None:
    router = stage.start_router("log: {output: file}")
    logs = folder_of(router) / "logs"
    link = logs / "router.log"
    wait_for(lambda: link.is_symlink() and "/registered_number" in link.read_text())
    target = os.readlink(link)
    assert re.fullmatch(r"router-\d{4}-\d\d-\d\d\.log", target)
    first = LogLine.parse(link.read_text().splitlines()[0])
    assert first
    assert target == f"router-{first.time[:10].replace('/', '-')}.log"
    assert router.process.output() == "", "with files nothing goes to standard output"


def test_case_113_errors_only(stage: Stage) -> None:
    router = stage.start_router("log: {level: error}\nscheduler: {stats-interval-secs: 0.1}")
    worker = add_worker(stage, router)
    assert router.chat("hello").status_code == 200
    worker.stop()
    assert router.chat("hello").status_code == 502
    assert router.stop() == 0
    levels = {line.level for line in router.log_lines()}
    assert levels == {"ERROR"}


def test_errors_go_to_standard_error(stage: Stage) -> None:
    router = stage.start_router(
        "log: {level: debug}\nmanager: {health-check-interval-secs: 0.2}\nserver: {max-connections: 100}",
        split_errors=True,
    )
    worker = add_worker(stage, router)
    router.wait_log(rf"^\[DEBUG\] .* Healthy instances: prefill=\[\], decode=\[\], mixed=\[{worker.url}\]$")
    assert router.post(CHAT, content="x").status_code == 400
    assert router.stop() == 0
    errors = router.process.errors
    assert errors is not None
    assert {line.split()[0] for line in errors.read_text().splitlines()} == {"[ERROR]"}
    assert {line.level for line in router.log_lines()} == {"INFO", "DEBUG"}


def test_case_114_every_select_is_released(mixed: Router, stage: Stage, in_background: Background) -> None:
    workers = [add_worker(stage, mixed).url for _ in range(3)]
    bodies = [
        (path, chat_body(f"request {number}", prompt="hello", stream=stream))
        for number in range(25)
        for path in (CHAT, COMPLETIONS)
        for stream in (False, True)
    ]
    answers = [in_background(mixed.post, path, body) for path, body in bodies]
    assert [answer.result().status_code for answer in answers] == [200] * 100
    wait_for(lambda: len(re.findall(r"\[POST\] /v1/.*\n", mixed.log_text())) == 100)
    mixed.assert_idle()
    text = mixed.log_text()
    log = UpstreamLog.read(text[: text.rindex("\n")])
    assert len(log.selects) == 100
    for url in workers:
        assert sum(selected == url for _, selected in log.selects) == log.releases.count(url)
        counts = re.findall(rf"release worker: {url}, count: (\d+)$", text, re.M)
        assert counts[-1] == "0"


@pytest.mark.parametrize(
    "session", ["100%d", "a\nb", "%s%n\r\n[ERROR] x", "a] [request_id:b", "\u2028\u0085\x00\x1b[0m"]
)
def test_case_115_ids_that_would_break_a_line(mixed: Router, stage: Stage, session: str) -> None:
    url = add_worker(stage, mixed).url
    assert mixed.chat("hello", session_id=session).status_code == 200
    mixed.wait_log(r"\[POST\] /v1/")
    text = mixed.log_text()
    assert text.splitlines() == text.removesuffix("\n").split("\n")
    lines = [LogLine.parse(line) for line in text.splitlines()]
    assert all(lines)
    tagged = [line for line in lines if line and line.tags]
    messages = [re.sub(r"\d+(\.\d+)?(ms|µs|s) ", "T ", line.message) for line in tagged]
    assert messages == [
        "Parsing completed; starting worker selection.",
        f"select worker (mixed): {url}, count: 1",
        "Request completed successfully.",
        f"release worker: {url}, count: 0",
        f"release prefill tokens: {url}, tokens: 0",
        f"[POST] {CHAT} HTTP/1.1 200 T 127.0.0.1",
    ]
    assert {name for line in tagged for name, _ in line.tags} == {"session_id"}
    assert len({str(line.tags) for line in tagged}) == 1
    if session == "100%d":
        assert tagged[0].tags == [("session_id", "100%d")]


def test_order_of_the_lines_of_a_pair(cached: Router, stage: Stage, in_background: Background) -> None:
    held = Held()
    pair = add_pair(stage, cached, decode=held)
    under_way = in_background(cached.chat, "hello", request_id="r")
    cached.wait_log(r"\[prefill\] non-stream")
    held.let_go()
    assert under_way.result().status_code == 200
    cached.wait_log(r"\[POST\] /v1/")
    prefill, decode = pair.prefill.url, pair.decode.url
    order = [
        r"Parsing completed; starting worker selection\.",
        r"before SelectWorker prefill\. ts_ms=.*",
        r"cache-aware prefill: final strategy: cache_aware_scoring, .*",
        rf"select worker \(prefill\): {prefill}, tokens: 10",
        r"before SelectWorker decode, after prefill\. ts_ms=.*",
        rf"select worker \(decode\): {decode}, count: 1",
        r"after SelectWorker decode, before return\. ts_ms=.*",
        rf"release worker: {prefill}, count: 0",
        rf"release prefill tokens: {prefill}, tokens: 0",
        rf"\[prefill\] non-stream prefill response done, release counter url={prefill}",
        r"Request completed successfully\.",
        rf"release worker: {decode}, count: 0",
        rf"\[POST\] {CHAT} HTTP/1\.1 200 .*",
    ]
    messages = [line.message for line in cached.log_lines() if line.tags]
    assert len(messages) == len(order), messages
    for message, pattern in zip(messages, order, strict=True):
        assert re.fullmatch(pattern, message)


def test_prompts_are_never_logged(split: Router, stage: Stage) -> None:
    """The Go router logs the prompt when prefill's answer breaks off."""

    def prefill(peer: Peer) -> None:
        peer.send(sse_head())
        peer.send(b"data: 1\n\n")
        peer.reset()

    def decode(peer: Peer) -> None:
        peer.wait_closed()

    add_pair(stage, split, prefill, decode)
    for stream in (True, False):
        split.chat("secret words", stream=stream)
    split.wait_log(r"\[prefill\] (scanner|copy) error: .")
    assert "secret" not in split.settled_log()


STREAM = sse_head() + b"data: 1\n\ndata: [DONE]\n\n"
ILL = reply(b'{"detail":"no"}', 500)


def log_of(router: Router) -> str:
    """Today's log file. A run over midnight would have two."""
    return (folder_of(router) / "logs" / "router.log").read_text()


def run_mixed(stage: Stage, in_background: Background) -> Router:
    """A run of mixed mode with a bit of everything, ended."""
    router = stage.start_router(
        "scheduler: {policy: cache_aware, cache-block-size: 4, stats-interval-secs: 0.2}\n"
        "manager: {health-check-interval-secs: 0.5, forget-after-secs: 0}\n"
        "log: {level: debug, output: file}"
    )
    held = Held()
    first, second = (add_worker(stage, router) for _ in range(2))
    for number in range(6):
        body = chat_body(f"a prompt of request {number % 3}", session_id=f"m{number}", stream=number % 2 == 0)
        assert router.post(CHAT, body).status_code == 200
    for status, content in ((400, b"x"), (400, b"[]")):
        assert router.post(CHAT, content=content).status_code == status
    for worker in (first, second):
        worker.answer = held
    busy = [in_background(router.chat, f"{number} under way", session_id=f"b{number}") for number in range(4)]
    wait_for(lambda: len(first.hits) + len(second.hits) == 10)
    wait_for(lambda: "total_running=4, " in log_of(router))
    second.health = 503
    router.wait_workers(mixed=1)
    third = in_background(router.chat, "one more", session_id="b4")
    wait_for(lambda: len(first.hits) + len(second.hits) == 11)
    held.let_go()
    assert [future.result().status_code for future in (*busy, third)] == [200] * 5
    second.health = 200
    register(router, second)
    assert router.chat("", session_id="empty").status_code == 200
    first.answer = lambda peer: ILL
    second.answer = lambda peer: ILL
    assert router.chat("ill", session_id="ill").status_code == 500
    for worker in (first, second):
        worker.answer = close
    assert router.chat("closed", session_id="closed").status_code == 502
    router.assert_idle()
    assert router.stop() == 0
    return router


def close(peer: Peer) -> None:
    peer.close()


def run_pairs(stage: Stage, in_background: Background) -> Router:
    """A run of PD mode with a bit of everything, ended."""
    router = stage.start_router(
        "scheduler: {prefill-policy: cache_aware, cache-block-size: 4, stats-interval-secs: 0.2}\n"
        + NO_ROUNDS,
        "--splitwise",
    )
    assert router.chat("nobody", request_id="p-none").status_code == 503
    held = Held()
    pair = add_pair(stage, router)
    for number in range(4):
        assert router.chat("the same prompt", request_id=f"p{number}", session_id="s").status_code == 200

    def stream(peer: Peer) -> None:
        peer.send(STREAM)
        peer.close()

    pair.prefill.answer = pair.decode.answer = stream
    assert router.chat("streamed", request_id="p-stream", stream=True).status_code == 200
    pair.prefill.answer = pair.decode.answer = held
    busy = [in_background(router.chat, f"{number} under way", request_id=f"b{number}") for number in range(2)]
    wait_running(router, **{pair.prefill.url: 2, pair.decode.url: 2})
    add_pair(stage, router)
    assert router.chat("the same prompt", request_id="p-imbalanced").status_code == 200
    held.let_go()
    assert [future.result().status_code for future in busy] == [200, 200]
    pair.decode.stop()
    assert router.get("/health_generate").status_code == 200
    router.assert_idle()
    totals = re.compile(r"hits=\d+/total=(\d+)\)\n")
    wait_for(lambda: sum(map(int, totals.findall(router.log_text()))) == 4)
    assert router.stop() == 0
    return router


def test_case_116_scripts_read_the_log(stage: Stage, in_background: Background) -> None:
    router = run_mixed(stage, in_background)
    text = log_of(router)
    log = UpstreamLog.read(text)
    chats = [status for method, path, status, _ in log.http if (method, path) == ("POST", CHAT)]
    assert sorted(chats) == [200] * 12 + [400] * 2 + [500] + [502]
    # Every attempt of the one that nobody would answer is a choice of its own.
    assert len(log.selects) == 12 + 1 + 3
    assert sorted(url for _, url in log.selects) == sorted(log.releases)
    assert {role for role, _ in log.selects} == {"mixed"}
    assert {entry.name for entry in log.strategies} == {"cache_aware_scoring", "process_tokens"}
    assert {entry.reason for entry in log.strategies} >= {None, "tokenize failed: empty prompt for tokenizer"}
    assert [ratio for entry in log.strategies for ratio in entry.hit_ratios.values() if ratio == 100]
    assert len(log.removed) == 1
    assert log.recovered == log.removed
    assert any(total >= 4 and sum(running.values()) == total for total, running, _, _ in log.stats)
    assert sum(hits for _, _, hits, _ in log.stats) == 0
    assert not [name for name, request in log.requests.items() if not request.complete]
    assert len(log.requests) == 6 + 5 + 3
    assert log_grammar.check(text).problems == []

    text = run_pairs(stage, in_background).log_text()
    log = UpstreamLog.read(text)
    chats = [status for method, path, status, _ in log.http if (method, path) == ("POST", CHAT)]
    assert sorted(chats) == [200] * 8 + [503]
    assert sorted(role for role, _ in log.selects) == ["decode"] * 8 + ["prefill"] * 8
    assert sorted(url for _, url in log.selects) == sorted(log.releases)
    assert len(log.token_selects) == len(log.token_releases) == 8
    assert [entry.reason for entry in log.strategies].count("load imbalanced") == 1
    assert (sum(hits for _, _, hits, _ in log.stats), sum(total for *_, total in log.stats)) == (3, 4)
    assert len(log.not_healthy) == 1
    assert not [name for name, request in log.requests.items() if not request.complete]
    assert log_grammar.check(text).problems == []
