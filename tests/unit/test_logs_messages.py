"""Every message is of the grammar, at the level that its documentation says, and parses with upstream's regexes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fd_router._core import AccessLog, Journal, Request
from fd_router.errors import printable
from fd_router.observe.logs import messages, tags
from fd_router.observe.logs.line import LEVELS, describe_text
from fd_router.observe.stats_line import stats_line
from fd_router.types import ROLES
from rig import core
from rig.log_grammar import TEMPLATES, GrammarError, Line, check, parse

if TYPE_CHECKING:
    from fd_router.types import Role

A, B = "http://10.0.0.1:8000", "http://10.0.0.2:8000"
SAMPLES: dict[str, object] = {
    "port": 9000,
    "replica": "router-1-0a1b2c3d",
    "server": "10.0.0.3:6379",
    "error": 'dial tcp 10.0.0.1:8000: "connection refused"',
    "path": "/v1/chat/completions",
    "index": 3,
    "seconds": 0.002798235,
    "role": "prefill",
    "old": "prefill",
    "new": "decode",
    "url": A,
    "prefill_url": A,
    "failed_url": A,
    "count": 3,
    "tokens": 10,
    "attempt": 1,
    "attempts": 3,
    "stream": True,
    "urls": [A, B],
    "prefill": [A],
    "decode": [],
    "mixed": [A, B],
    "blocks": 5,
    "nodes": 7,
    "what": "left while it waited for an answer",
    "text": "scheduler.polcy: unknown key",
    "faults": 5,
    "lines": 5,
    "why": "status 500",
    "status": 503,
    "peer": "10.0.0.9:4711",
    "pid": 4711,
    "cause": "was ended by SIGKILL",
    "pause": 0.5,
    "name": "SIGUSR2",
    "keys": ["scheduler.policy", "log.level"],
    "names": ["ernie", "/models/other", *"abcdefg"],
    "requests": 3,
    "files": 256,
    "taken": 96,
    "wanted": 16_384,
    "closed": 33,
    "for_control": True,
    "problem": "server.tls-cert: open /cert.pem: no such file or directory",
    "order": "drain",
    "running": 2,
    "before": A,
    "now": B,
    "method": "POST",
    "workers": 3,
    "failed": 1,
    "times": 3,
}
FUNCTIONS = [
    value
    for _, value in inspect.getmembers(messages, inspect.isfunction)
    if value.__module__ == messages.__name__ and value is not messages.go_list
]


def line(level: str, message: str, ids: str = "") -> str:
    return describe_text(1_772_366_400)[2][LEVELS.index(level)] + ids + message


def read(journal: Journal) -> list[Line]:
    return [parse(text) for _ in range(len(journal)) for text in journal.take()[2].decode().splitlines()]


def access(method: str, path: str, query: bytes, status: int, seconds: float, ip: str) -> str:
    """The access line of a request."""
    journal = Journal(level=1, json=False, errors_apart=False, describe=describe_text, escape=printable)
    AccessLog(journal, [], []).note(method, path, query, status, seconds, ip, tags("t"))
    (entry,) = read(journal)
    assert (entry.level, entry.kind, entry.tags) == ("INFO", "access", {"trace_id": "t"})
    return entry.message


def told(role: Role, times: int, level: int = 1, ended: Sequence[int] = ()) -> list[str]:
    """The messages of a scheduler with one worker that books a prompt `times` times, each answered and given back."""
    journal = Journal(level=level, json=False, errors_apart=False, describe=describe_text, escape=printable)
    scheduler = core.scheduler({role: "cache_aware"}, journal=journal)
    scheduler.add(A, role)
    request = Request.scan(b'{"prompt": "%s"}' % (b"x" * 640), False)
    for _ in range(times):
        lease = core.book(scheduler, role, request, tags=tags("t"))
        lease.answered()
        for status in ended:
            lease.ended(status)
        lease.release()
    lines = read(journal)
    assert all(entry.level == "INFO" and entry.tags == {"trace_id": "t"} for entry in lines)
    return [entry.message for entry in lines]


def sample(function: Callable[..., str]) -> str:
    return function(**{name: SAMPLES[name] for name in inspect.signature(function).parameters})


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_message_is_of_the_grammar_at_its_level(function: Callable[..., str]) -> None:
    message = sample(function)
    kind = parse_any(message)
    documented = set(re.findall(r"\b(?:INFO|WARN|ERROR|DEBUG)\b", inspect.getdoc(function) or ""))
    allowed = set(TEMPLATES[kind][0].split())
    assert documented, f"{function.__name__} documents no level"
    assert documented <= allowed, f"{kind} is for {allowed}"


def parse_any(message: str) -> str:
    for level in ("INFO", "WARN", "ERROR", "DEBUG"):
        try:
            return parse(line(level, message, tags("t", "q", "s", "r"))).kind
        except GrammarError:
            continue
    raise AssertionError(f"of no level: {message!r}")


STAMPED = (messages.BEFORE_PREFILL, messages.BEFORE_DECODE, messages.AFTER_DECODE)


def test_every_template_has_a_message_but_the_scheduler_s_and_what_cannot_happen() -> None:
    emitted = {parse_any(sample(function)) for function in FUNCTIONS}
    emitted |= {parse_any(text) for text in (messages.PARSED, messages.LOOP)}
    emitted |= {parse_any(f"{text}. ts_ms=2026-03-01 12:00:00.000") for text in STAMPED}
    emitted |= {parse_any(text) for role in ROLES for text in told(role, 2, ended=(204, 404))}
    assert set(TEMPLATES) - emitted == {
        "access",
        "stats",
        "imbalanced",
        "not tokenized",
        "not initialized",
        "encode failed",
    }


def test_own_topics_are_those_of_the_grammar() -> None:
    own = {
        name.removeprefix("own "): levels
        for name, (levels, _) in TEMPLATES.items()
        if name.startswith("own ")
    }
    assert set(messages.TOPICS) == set(own)
    for topic, levels in own.items():
        assert set(levels.split()) == set(re.findall(r"\b(?:INFO|WARN|ERROR)\b", messages.TOPICS[topic])), (
            topic
        )


def test_a_lease_tells_what_upstream_would() -> None:
    mixed = told("mixed", 1)
    assert mixed[1:] == [
        f"select worker (mixed): {A}, count: 1",
        f"release worker: {A}, count: 0",
        f"release prefill tokens: {A}, tokens: 0",
    ]
    assert re.fullmatch(
        rf"cache-aware prefill: final strategy: cache_aware_scoring, selected={A}, loads=map\[{A}:0\], "
        r"hitRatios=map\[\]\. ts_ms=\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}",
        mixed[0],
    )
    assert told("prefill", 1)[1] == f"select worker (prefill): {A}, tokens: 1280"
    assert told("decode", 1)[1:] == [
        f"select worker (decode): {A}, count: 1",
        f"release worker: {A}, count: 0",
    ]
    assert told("mixed", 1, level=2) == []


def test_only_2xx_is_a_success() -> None:
    for status in (199, 307, 404, 503):
        assert f"Request completed with an error: status {status}." in told("mixed", 1, ended=(status,))
    for status in (200, 299):
        assert "Request completed successfully." in told("mixed", 1, ended=(status,))


STATS = stats_line([(A, "mixed", 2, 9)], 1, 2)
URL = r"((?:https?://)?[A-Za-z0-9.-]+(?::\d+)?)"
TOOLS = [
    (told("mixed", 1)[1], rf"select worker\s*(?:\((\w+)\))?:\s*{URL}", ("mixed", A)),
    (
        told("prefill", 1)[1],
        rf"select worker \((\w+)\):\s*{URL},\s*tokens:\s*(\d+)",
        ("prefill", A, "1280"),
    ),
    (told("mixed", 1)[2], rf"release worker\s*(?:\((\w+)\))?:\s*{URL}", (None, A)),
    (
        told("mixed", 1)[3],
        rf"release (?:([a-zA-Z_]+)\s+)?tokens:\s*{URL},\s*tokens:\s*(\d+)",
        ("prefill", A, "0"),
    ),
    (told("mixed", 2)[4], r"final strategy:\s*(\w+)", ("cache_aware_scoring",)),
    (told("mixed", 2)[4], rf"selected={URL}(?:,|\s|$)", (A,)),
    (told("mixed", 2)[4], r"hitRatios=(map\[.*?\])", (f"map[{A}:100]",)),
    (told("mixed", 2)[4], r"ts_ms=(\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d+)", None),
    (messages.removed_unhealthy("mixed", A), rf"Removed unhealthy \w+ instance:\s*{URL}", (A,)),
    (messages.server_unhealthy(A), rf"{URL}\s+is not healthy", (A,)),
    (STATS, r"total_running=(\d+)", ("2",)),
    (STATS, rf"{URL}: running=(\d+)", (A, "2")),
    (STATS, r"cache_hit_rate=([\d.]+)%\s*\(hits=(\d+)/total=(\d+)\)", ("50.00", "1", "2")),
    (
        access("POST", "/v1/chat/completions", b"", 200, 0.002798235, "10.0.0.9"),
        r"\[(POST|GET)\]\s+(/\S*)\s+HTTP/\d\.\d\s+(\d{3})\s+(\S+)\s+(\d+\.\d+\.\d+\.\d+)",
        ("POST", "/v1/chat/completions", "200", "2.798235ms", "10.0.0.9"),
    ),
]


@pytest.mark.parametrize(("message", "pattern", "groups"), TOOLS)
def test_upstream_s_tools_read_it(message: str, pattern: str, groups: tuple[str, ...] | None) -> None:
    match = re.search(pattern, line("INFO", message, tags("t")))
    assert match is not None
    assert groups is None or match.groups() == groups


def test_a_decoded_path_stays_one_word() -> None:
    assert (
        access("GET", "/a b\u00e9", b"x=\xe9", 404, 0.5, "::1")
        == "[GET] /a%20b\u00e9?x=\u00e9 HTTP/1.1 404 500ms ::1"
    )


def test_stats_line() -> None:
    assert (
        stats_line([], 0, 0) == "[stats] total_running=0, workers: [], cache_hit_rate=0.00% (hits=0/total=0)"
    )
    assert stats_line([(A, "prefill", 2, 7), (B, "decode", 3, 0)], 1, 3) == (
        f"[stats] total_running=5, workers: [{A}: running=2, {B}: running=3], cache_hit_rate=33.33% (hits=1/total=3)"
    )


@given(
    st.lists(
        st.tuples(
            st.integers(1, 9999).map("http://h:{}".format), st.just("mixed"), st.integers(0), st.integers(0)
        )
    ),
    st.integers(0),
    st.integers(0),
)
def test_stats_line_is_of_the_grammar(loads: list[tuple[str, str, int, int]], hits: int, total: int) -> None:
    assert parse(line("INFO", stats_line(loads, min(hits, total), total))).kind == "stats"  # type: ignore[arg-type]


def test_the_grammar_refuses_what_is_not_in_it() -> None:
    for text in (
        "plain text",
        line("INFO", "something new"),
        line("WARN", messages.PARSED),
        line("INFO", ""),
    ):
        with pytest.raises(GrammarError):
            parse(text)


def test_check_finds_what_was_not_released() -> None:
    run = [
        f"select worker (mixed): {A}, count: 1",
        f"select worker (mixed): {A}, count: 2",
        f"release worker: {A}, count: 1",
    ]
    problems = check("".join(line("INFO", message) + "\n" for message in run)).problems
    assert f"{A}: last running is 1" in problems
    assert f"{A}: selected 2 times, released 1 times" in problems
    assert f"{A}: 2 prompts booked, 0 given back" in problems


def test_check_is_content_with_a_whole_request() -> None:
    assert check("".join(line("INFO", message) + "\n" for message in told("mixed", 1))).problems == []
