"""The scan against `json.loads`: the same bodies are accepted, and the same members read out of them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fd_router._core import BodyError, Request

# It is the extension that is held against Python's reader; watching the lines of Hypothesis takes as long again.
pytestmark = pytest.mark.no_cover

WHITE_SPACE = "\t\n\v\f\r \u0085\u00a0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
DEPTH_LIMIT = 128


@dataclass(frozen=True)
class Number:
    """A number's literal, so that none loses digits."""

    literal: str


class RefusedError(Exception):
    """What the oracle says of a body that is not one."""


def oracle(body: bytes, chat: bool) -> dict[str, Any]:
    """What a scan must find."""
    try:
        found = json.loads(body.decode(), parse_int=Number, parse_float=Number, parse_constant=refuse)
    except ValueError as error:
        raise RefusedError from error
    if not isinstance(found, dict):
        raise RefusedError
    extra = found.get("extra_body")
    sessions = [found.get("session_id"), extra.get("session_id") if isinstance(extra, dict) else None]
    request_id = found.get("request_id")
    pieces = chat_pieces(found.get("messages")) if chat else strings(found.get("prompt"))
    stripped = [whole(piece).strip(WHITE_SPACE) for piece in pieces]
    return {
        "stream": found.get("stream") is True,
        "request_id": request_id.literal if isinstance(request_id, Number) else text(request_id),
        "session_id": next((text(session) for session in sessions if text(session)), None),
        "req_id": text(found.get("req_id")),
        "text": " ".join(piece for piece in stripped if piece),
    }


def refuse(constant: str) -> None:
    raise ValueError(constant)


def whole(string: str) -> str:
    """As the scan has it: a surrogate without its other half is U+FFFD."""
    return re.sub("[\ud800-\udfff]", "\ufffd", string)


def text(value: object) -> str | None:
    return whole(value) if isinstance(value, str) else None


def strings(value: object) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    return [item for item in listed if isinstance(item, str)]


def chat_pieces(messages: object) -> list[str]:
    pieces: list[str] = []
    for message in messages if isinstance(messages, list) else []:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str):
            pieces.append(content)
        for item in content if isinstance(content, list) else []:
            if isinstance(item, dict) and item.get("type") == "text" and isinstance(item.get("text"), str):
                pieces.append(item["text"])
    return pieces


def escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


SPACE = st.sampled_from(["", "", "", " ", "\n\t", "\r "])
PLAIN = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\')
PART = st.one_of(
    PLAIN,
    st.text(PLAIN, min_size=20, max_size=60),
    st.characters(exclude_categories=["Cs"]).map(escape),
    st.sampled_from(
        ['\\"', "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\u0000", " ", "\\u00A0", "\u3000"]
    ),
    st.sampled_from(
        ["\\ud83d\\ude00", "\\ud83d", "\\ude00", "\\uD83D\\uD83D\\uDE00", "\\ud83d\\n", "\\ud83dx"]
    ),
)
STRING = st.lists(PART, max_size=6).map(lambda parts: f'"{"".join(parts)}"')
FRACTION = st.integers(0, 10**9 - 1).map(lambda digits: (f".{digits}", f".{digits:09}")[digits % 2])
EXPONENT = st.tuples(st.sampled_from(["e", "E", "e+", "E-"]), st.integers(0, 9999).map(str)).map("".join)
NUMBER = st.tuples(
    st.integers(-(10**25) + 1, 10**25 - 1).map(str) | st.just("-0"),
    st.just("") | FRACTION,
    st.just("") | EXPONENT,
).map("".join)
SCALAR = st.one_of(STRING, NUMBER, st.sampled_from(["true", "false", "null", '""', "9007199254740993"]))


def spelled(key: str) -> st.SearchStrategy[str]:
    """A key, as it is or with some of its characters escaped."""

    def spell(escaped: int) -> str:
        chars = (escape(char) if escaped >> at & 1 else char for at, char in enumerate(key))
        return f'"{"".join(chars)}"'

    return st.just(f'"{key}"') | st.integers(0, 2 ** len(key) - 1).map(spell)


def joined(inner: st.SearchStrategy[str], opening: str, closing: str) -> st.SearchStrategy[str]:
    separated = st.tuples(SPACE, inner, SPACE).map("".join)
    return st.lists(separated, max_size=6).map(lambda items: f"{opening}{','.join(items)}{closing}")


def member(key: st.SearchStrategy[str], value: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(key, SPACE, st.just(":"), SPACE, value).map("".join)


def objects(*members: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    # By place, since `one_of` of several `one_of` gives each of their branches the same chance.
    return joined(st.integers(0, len(members) - 1).flatmap(members.__getitem__), "{", "}")


VALUE = st.recursive(
    SCALAR, lambda inner: st.one_of(joined(inner, "[", "]"), objects(member(STRING, inner))), max_leaves=8
)
ITEM = objects(
    member(spelled("type"), st.sampled_from(['"text"', '"text"', '"te\\u0078t"', '"image_url"', "1"])),
    member(spelled("text"), STRING),
    member(spelled("text"), VALUE),
)
CONTENT = member(spelled("content"), STRING | joined(ITEM, "[", "]"))
MESSAGE = objects(CONTENT, CONTENT, member(spelled("content"), VALUE), member(spelled("role"), STRING))
PROMPT = st.one_of(
    member(spelled("messages"), joined(MESSAGE, "[", "]")),
    member(spelled("prompt"), STRING | joined(SCALAR, "[", "]")),
    member(st.sampled_from(['"messages"', '"prompt"']), VALUE),
)
SESSION = member(spelled("session_id"), SCALAR)
BODY = objects(
    PROMPT,
    PROMPT,
    member(spelled("stream"), st.sampled_from(["true", "true", "false", "1", '"true"'])),
    member(spelled("extra_body"), objects(SESSION) | VALUE),
    SESSION,
    *[member(spelled(key), SCALAR) for key in ("request_id", "req_id")],
    member(STRING, VALUE),
)


def agree(body: bytes, chat: bool) -> None:
    try:
        wanted = oracle(body, chat)
    except RefusedError:
        wanted = None
    try:
        request = Request.scan(body, chat)
    except BodyError:
        assert wanted is None, body
        return
    assert wanted is not None, body
    assert {key: getattr(request, key) for key in wanted} == wanted
    assert request.chars == len(wanted["text"])


@settings(max_examples=250, deadline=None)
@given(st.tuples(SPACE, BODY, SPACE).map("".join), st.booleans())
def test_bodies_are_read_alike(body: str, chat: bool) -> None:
    agree(body.encode(), chat)


@settings(max_examples=250, deadline=None)
@given(
    BODY,
    st.booleans(),
    st.integers(0),
    st.integers(0, 3),
    st.binary(max_size=3) | st.sampled_from(list(b'"\\{}[],:')),
)
def test_damaged_bodies_are_refused_alike(body: str, chat: bool, at: int, cut: int, put: bytes | int) -> None:
    encoded = body.encode()
    at %= len(encoded) + 1
    put = bytes([put]) if isinstance(put, int) else put
    agree(encoded[:at] + put + encoded[at + cut :], chat)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=40)
    | st.text(st.sampled_from('{}[]":, \\u019eE+-.truefalsn'), max_size=40).map(str.encode)
)
@example(b"\xef\xbb\xbf{}")
@example(b'{"a":NaN}')
@example(b'{"a":-Infinity}')
@example(b'{"a":"\xed\xa0\x80"}')
@example(b'{"a":"\x1f"}')
@example(b'{"a":"\x7f"}')
@example(b'{"a":.5}')
@example(b'{"a":1e999}')
@example(b"{}\x00")
@example(b"null")
def test_anything_else_is_refused_alike(body: bytes) -> None:
    agree(body, True)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 2 * DEPTH_LIMIT),
    st.lists(st.booleans(), min_size=2 * DEPTH_LIMIT, max_size=2 * DEPTH_LIMIT),
)
@example(DEPTH_LIMIT, [True] * 2 * DEPTH_LIMIT)
@example(DEPTH_LIMIT + 1, [True] * 2 * DEPTH_LIMIT)
def test_nesting_is_limited(depth: int, kinds: list[bool]) -> None:
    inner = kinds[: depth - 1]
    opening = "".join('{"a":' if kind else "[" for kind in inner)
    closing = "".join("}" if kind else "]" for kind in reversed(inner))
    body = f'{{"a":{opening}1{closing}}}'.encode()
    if depth <= DEPTH_LIMIT:
        Request.scan(body, True)
        return
    with pytest.raises(BodyError, match="nested deeper than 128 levels"):
        Request.scan(body, True)


@settings(max_examples=200, deadline=None)
@given(BODY, st.booleans(), st.booleans())
def test_splice_changes_only_its_members(body: str, set_id: bool, set_info: bool) -> None:
    members = [("request_id", b'"new"')] * set_id + [
        ("disaggregate_info", b'{"seed":9007199254740993}')
    ] * set_info
    wanted = json.loads(body, parse_int=Number, parse_float=Number)
    wanted.update((key, json.loads(value, parse_int=Number)) for key, value in members)
    spliced = Request.scan(body.encode(), True).splice(members)
    assert json.loads(spliced, parse_int=Number, parse_float=Number) == wanted
    if not members:
        assert spliced == body.encode()
