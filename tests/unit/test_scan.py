"""The request's scan at the border: what Python gets, and how errors read."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from fd_router._core import BodyError, Request


def chat(**members: object) -> Request:
    return Request.scan(json.dumps(members).encode(), True)


def test_the_body_is_the_same_object() -> None:
    body = b'{"a":1}'
    assert Request.scan(body, True).body is body


@pytest.mark.parametrize(("text", "chars"), [("hello", 5), ("漢字", 2), ("", 0)])
def test_a_prompt_is_measured_in_code_points(text: str, chars: int) -> None:
    assert chat(messages=[{"content": text}]).chars == chars


def test_chat_joins_messages() -> None:
    request = chat(messages=[{"content": "hello"}, {"content": " hi\n"}, {"content": "how are you"}])
    assert request.text == "hello hi how are you"
    assert request.chars == len("hello hi how are you")


def test_images_do_not_count() -> None:
    content = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "b"}}]
    assert chat(messages=[{"content": content}]).text == "a"


def test_completions_take_strings_from_a_list() -> None:
    assert Request.scan(b'{"prompt":["","hello",""]}', False).text == "hello"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "unexpected end of input at byte 0"),
        (b"x", "expected an object at byte 0"),
        (b"[]", "expected an object at byte 0"),
        (b"null", "expected an object at byte 0"),
        (b'{"a":1', "unexpected end of input at byte 6"),
        (b'{"a":"\xff"}', "invalid UTF-8 at byte 6"),
    ],
)
def test_errors_say_what_and_where(body: bytes, message: str) -> None:
    with pytest.raises(BodyError, match=f"^{message}$"):
        Request.scan(body, True)


def test_a_body_error_is_a_value_error() -> None:
    assert issubclass(BodyError, ValueError)


def test_splice_keeps_every_other_byte() -> None:
    body = b'{ "seed" : 9007199254740993,\n"disaggregate_info": {"old": [1]} , "x":"\\u00e9" }'
    spliced = Request.scan(body, True).splice([("request_id", b'"r"'), ("disaggregate_info", b"{}")])
    assert (
        spliced == b'{ "seed" : 9007199254740993,\n"disaggregate_info": {} , "x":"\\u00e9" ,"request_id":"r"}'
    )


def test_splice_refuses_other_keys() -> None:
    with pytest.raises(ValueError, match='cannot splice "model": use request_id or disaggregate_info'):
        chat().splice([("model", b"1")])


def test_long_bodies_are_scanned_by_threads_at_once() -> None:
    body = json.dumps({"messages": [{"content": "x" * 1_000_000}]}).encode()
    chars: list[int] = []
    threads = [
        threading.Thread(target=lambda: chars.append(Request.scan(body, True).chars)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert chars == [1_000_000] * 4


def read(reading: Any, content_type: bytes = b"application/json", **members: object) -> Request:
    return Request.read(json.dumps(members).encode(), reading, content_type)


def test_other_endpoints_have_their_text_elsewhere() -> None:
    assert read("texts", input=["a", "b"]).text == "a b"
    assert read("texts", query="q", documents=["a", {"text": "b"}]).text == "q a b"
    assert read("texts", system="s", messages=[{"role": "user", "content": "m"}]).text == "s m"
    assert read("json", prompt="a", stream=True).text == ""


def test_what_is_not_known_to_be_whole_may_be_streamed() -> None:
    assert read("texts", input="a").whole
    assert not read("texts", input="a", stream=True).whole
    assert read("json").whole
    assert Request.read(b"RIFF", "form", b"audio/wav").whole
    assert not read("any", input="a").whole


@pytest.mark.parametrize("reading", ["texts", "json"])
def test_other_endpoints_take_json_as_completions_do(reading: Any) -> None:
    with pytest.raises(BodyError, match="expected an object at byte 0"):
        Request.read(b"[]", reading, b"")


@pytest.mark.parametrize("reading", ["form", "any"])
def test_what_is_no_json_is_taken_as_it_is(reading: Any) -> None:
    body = b"\xff--B\r\n"
    request = Request.read(body, reading, b"multipart/form-data; boundary=B")
    assert request.body is body
    assert (request.text, request.stream, request.request_id) == ("", False, None)


def test_an_unknown_reading_is_refused() -> None:
    wrong: Any = "poem"
    with pytest.raises(ValueError, match='unknown reading "poem": use texts, json, form or any'):
        Request.read(b"{}", wrong, b"")
