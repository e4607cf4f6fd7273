"""How a line looks: ids, timestamps, both layouts."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fd_router._core import Journal
from fd_router.errors import printable
from fd_router.observe.logs import tags
from fd_router.observe.logs.line import LEVELS, MAX_TAG_CHARS, Second, describe_json, describe_text
from rig.log_grammar import TAG, parse

IDS = st.text(st.characters(codec=None), min_size=1, max_size=200)
NOON = 1_772_366_400
STAMP = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(NOON))


def test_a_stamped_message_ends_in_local_time_with_milliseconds() -> None:
    for fraction, text in ((0.0071, "007"), (0.999999, "999"), (0.0, "000")):
        line = written("text", "before", "", now=NOON + fraction, stamped=True)
        assert line == f"{describe_text(NOON)[2][1]}before. ts_ms={STAMP}.{text}"


def test_tags_stand_in_order_and_only_where_known() -> None:
    assert tags("t", "q", "s", "r") == "[trace_id:t] [req_id:q] [session_id:s] [request_id:r] "
    assert tags(session_id="s") == "[session_id:s] "
    assert tags("", None, "", "r") == "[request_id:r] "
    assert tags() == ""


def test_percent_and_spaces_stay_as_they_are() -> None:
    assert tags(session_id="100%d done") == "[session_id:100%d done] "


def test_what_would_break_a_tag_is_escaped() -> None:
    assert tags(session_id="a]b[c\\d\ne\x1b\ud800") == "[session_id:a\\x5db\\x5bc\\x5cd\\ne\\x1b\\ud800] "


def test_a_long_id_is_cut() -> None:
    assert tags(session_id="x" * 10_000) == f"[session_id:{'x' * MAX_TAG_CHARS}...] "


@given(IDS, IDS, IDS, IDS)
@example("] [request_id:forged] ", "\r\n[ERROR] ", "\u2028\x85", "\ud83d")
def test_any_ids_make_four_tags_on_one_printable_line(
    trace: str, req: str, session: str, request: str
) -> None:
    text = tags(trace, req, session, request)
    assert text.isprintable()
    assert [name for name, _ in TAG.findall(text)] == ["trace_id", "req_id", "session_id", "request_id"]
    line = describe_text(NOON)[2][1] + text + "Request completed successfully."
    assert parse(line).kind == "completed"


@given(st.text(st.characters(codec=None)))
def test_escaped_text_is_one_line_of_utf8(text: str) -> None:
    escaped = printable(text)
    assert escaped.isprintable()
    escaped.encode("utf-8")
    assert printable(escaped) == escaped


@pytest.mark.parametrize("describe", [describe_text, describe_json])
def test_a_second_has_a_day_a_time_and_a_prefix_for_each_level(describe: Callable[[int], Second]) -> None:
    day, stamp, prefixes, _ = describe(NOON)
    assert stamp == STAMP
    assert day == stamp[:10]
    assert [level for level, prefix in zip(LEVELS, prefixes, strict=True) if level in prefix] == list(LEVELS)


def test_text_prefixes() -> None:
    prefix = describe_text(NOON)[2][2]
    assert re.fullmatch(r"\[WARN\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d logger\.go:\d+: ", prefix)


def written(text: str, message: str, tags: str, now: float = NOON, *, stamped: bool = False) -> str:
    """The one line that a journal makes of a message at level error, or of a stamped one."""
    describe = describe_json if text == "json" else describe_text
    journal = Journal(
        level=0,
        json=text == "json",
        errors_apart=False,
        describe=describe,
        escape=printable,
        clock=lambda: now,
    )
    (journal.stamped if stamped else journal.error)(message, tags)
    day, _, data, lines = journal.take()
    assert (day, lines) == (STAMP[:10], 1)
    line = data.decode("utf-8")
    assert line.endswith("\n")
    return line[:-1]


@given(IDS, st.text(st.characters(codec=None)))
@example("a", "5µs 中\u2028")
def test_any_message_is_one_printable_line(session: str, message: str) -> None:
    ids = tags(session_id=session)
    assert written("text", message, ids) == describe_text(NOON)[2][3] + ids + printable(message)


@given(IDS, st.text(st.characters(codec=None)))
@example("] [request_id:forged] \\", "")
@example("\r\n\t\x07\u2028\U000e0001é\U0001f600", "")
@example("\ud83d" * 200, "")
def test_json_layout_holds_the_same_facts(session: str, message: str) -> None:
    text = written("json", message, tags(session_id=session, request_id="r"))
    members = json.loads(text)
    assert list(members) == ["level", "ts", "session_id", "request_id", "message"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000[+-]\d\d:\d\d", members["ts"])
    assert members["level"] == "ERROR"
    # A lone surrogate is no character; it is escaped as in the text layout.
    surrogate = any("\ud800" <= char <= "\udfff" for char in message)
    assert members["message"] == (printable(message) if surrogate else message)
    # Ids are escaped once, as JSON does it: what is read is what the client sent.
    kept = session[:MAX_TAG_CHARS] + "..." * (len(session) > MAX_TAG_CHARS)
    assert members["session_id"] == re.sub("[\ud800-\udfff]", "\ufffd", kept)
    assert text.isascii()
    assert text.isprintable()
