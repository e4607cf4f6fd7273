"""Every message is of the grammar, at the level that its documentation says, and parses with upstream's regexes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fd_router.logs import messages, tags
from fd_router.logs.line import TextLayout
from fd_router.stats import stats_line
from rig.log_grammar import TEMPLATES, GrammarError, check, parse

A, B = "http://10.0.0.1:8000", "http://10.0.0.2:8000"
SAMPLES: dict[str, object] = {
    "port": 9000,
    "error": 'dial tcp 10.0.0.1:8000: "connection refused"',
    "path": "/v1/chat/completions",
    "index": 3,
    "method": "POST",
    "status": 200,
    "seconds": 0.002798235,
    "ip": "10.0.0.9",
    "role": "prefill",
    "old": "prefill",
    "new": "decode",
    "url": A,
    "prefill_url": A,
    "failed_url": A,
    "count": 3,
    "tokens": 10,
    "explanation": f"cache-aware prefill: final strategy: cache_aware_scoring, selected={A}, "
    f"loads=map[{A}:2 {B}:5], hitRatios=map[{A}:100]",
    "now": 1_772_366_400.5,
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
    "reason": "5 answers of status 500 in a row",
    "text": "scheduler.polcy: unknown key",
    "requests": 12,
    "limit_secs": 30.0,
}
FUNCTIONS = [
    value
    for _, value in inspect.getmembers(messages, inspect.isfunction)
    if value.__module__ == messages.__name__ and value is not messages.go_list
]


def line(level: str, message: str, ids: str = "") -> str:
    layout = TextLayout()
    return layout.line(layout.prefix(level, 1_772_366_400), ids, message)  # type: ignore[arg-type]


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


@pytest.mark.parametrize("message", [messages.PARSED, messages.COMPLETED])
def test_constant_messages(message: str) -> None:
    assert parse(line("INFO", message)).message == message


def test_every_template_has_a_message_but_the_scheduler_s_and_what_cannot_happen() -> None:
    emitted = {parse_any(sample(function)) for function in FUNCTIONS}
    emitted |= {parse_any(text) for text in (messages.PARSED, messages.COMPLETED)}
    assert set(TEMPLATES) - emitted == {
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


STATS = stats_line([(A, "mixed", 2, 9)], 1, 2)
URL = r"((?:https?://)?[A-Za-z0-9.-]+(?::\d+)?)"
TOOLS = [
    (messages.select_worker("mixed", A, 1), rf"select worker\s*(?:\((\w+)\))?:\s*{URL}", ("mixed", A)),
    (
        messages.select_worker("prefill", A, 10),
        rf"select worker \((\w+)\):\s*{URL},\s*tokens:\s*(\d+)",
        ("prefill", A, "10"),
    ),
    (messages.release_worker(A, 0), rf"release worker\s*(?:\((\w+)\))?:\s*{URL}", (None, A)),
    (
        messages.release_tokens(A, 0),
        rf"release (?:([a-zA-Z_]+)\s+)?tokens:\s*{URL},\s*tokens:\s*(\d+)",
        ("prefill", A, "0"),
    ),
    (sample(messages.strategy), r"final strategy:\s*(\w+)", ("cache_aware_scoring",)),
    (sample(messages.strategy), rf"selected={URL}(?:,|\s|$)", (A,)),
    (sample(messages.strategy), r"hitRatios=(map\[.*?\])", (f"map[{A}:100]",)),
    (sample(messages.strategy), r"ts_ms=(\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d+)", None),
    (messages.removed_unhealthy("mixed", A), rf"Removed unhealthy \w+ instance:\s*{URL}", (A,)),
    (messages.server_unhealthy(A), rf"{URL}\s+is not healthy", (A,)),
    (STATS, r"total_running=(\d+)", ("2",)),
    (STATS, rf"{URL}: running=(\d+)", (A, "2")),
    (STATS, r"cache_hit_rate=([\d.]+)%\s*\(hits=(\d+)/total=(\d+)\)", ("50.00", "1", "2")),
    (
        sample(messages.access),
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
    access = parse(line("INFO", messages.access("GET", "/a b\u00e9?x=1 2", 404, 0.5, "::1")))
    assert access.parts["path"] == "/a%20b\u00e9?x=1%202"


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
        messages.select_worker("mixed", A, 1),
        messages.select_worker("mixed", A, 2),
        messages.release_worker(A, 1),
    ]
    problems = check("".join(line("INFO", message) + "\n" for message in run)).problems
    assert f"{A}: last running is 1" in problems
    assert f"{A}: selected 2 times, released 1 times" in problems
    assert f"{A}: 2 prompts booked, 0 given back" in problems


def test_check_is_content_with_a_whole_request() -> None:
    run = [
        messages.select_worker("mixed", A, 1),
        messages.release_worker(A, 0),
        messages.release_tokens(A, 0),
    ]
    assert check("".join(line("INFO", message) + "\n" for message in run)).problems == []
