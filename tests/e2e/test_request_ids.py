"""The id of a request: in its answer, at its engine and in its log lines, whatever its client sent."""

from __future__ import annotations

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from rig import Peer, RawWorker, Router, Stage, reply, sse_head, wait_for
from rig.router import chat_body
from rig.wait import LIMIT

CHAT = "/v1/chat/completions"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
ID = "x-request-id"
URL = "x-router-worker-url"


def says_its_own(_: Peer) -> bytes:
    """An answer with an id, and a worker, of the engine's."""
    return reply(b"{}", 200, f"{ID}: of-the-engine", f"{URL}: http://elsewhere")


@pytest.fixture
def worker(stage: Stage) -> RawWorker:
    return stage.raw_worker(says_its_own)


def start(stage: Stage, worker: RawWorker, config: str = "") -> Router:
    router = stage.start_router(config)
    assert router.register(worker.port).status_code == 200
    return router


def told(router: Router, worker: RawWorker, headers: dict[str, Any], **fields: object) -> str:
    """The id in an answer, which is the engine's too; there is one of each."""
    answer = router.post(CHAT, chat_body("hello", **fields), headers=headers)
    assert answer.status_code == 200
    (at_engine,) = worker.hits[-1].header(ID)
    assert answer.headers.get_list(ID) == [at_engine]
    return at_engine


@pytest.mark.parametrize("stream", [False, True])
def test_of_what_a_client_sends_the_first_counts(stage: Stage, worker: RawWorker, stream: bool) -> None:
    router = start(stage, worker)
    sent: dict[str, Any] = {"X-Request-Id": "of-the-head", "traceparent": PARENT}
    assert told(router, worker, sent, request_id="of-the-body", stream=stream) == "of-the-body"
    assert json.loads(worker.hits[-1].body)["request_id"] == "of-the-body"
    assert told(router, worker, sent, stream=stream) == "of-the-head"
    assert "request_id" not in json.loads(worker.hits[-1].body)
    assert told(router, worker, {"traceparent": PARENT}, stream=stream) == TRACE
    assert worker.hits[-1].header("traceparent") == [PARENT]
    made = told(router, worker, {}, stream=stream)
    assert UUID(made).version == 4
    assert told(router, worker, {}, stream=stream) != made


@pytest.mark.parametrize(
    "parent",
    [
        f"ff-{TRACE}-b7ad6b7169203331-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE.upper()}-b7ad6b7169203331-01",
        TRACE,
    ],
)
def test_a_traceparent_that_is_none_names_nothing(stage: Stage, worker: RawWorker, parent: str) -> None:
    UUID(told(start(stage, worker), worker, {"traceparent": parent}), version=4)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("two words", "two\\x20words"),
        ("a\nb\x00", "a\\nb\\x00"),
        ("中", "\\u4e2d"),
        ("x" * 128, "x" * 128),
        ("x" * 129, "x" * 125 + "..."),
        ("中" * 100_000, ("\\u4e2d" * 128)[:125] + "..."),
    ],
)
def test_what_no_header_can_carry_is_escaped_and_cut(
    stage: Stage, worker: RawWorker, sent: str, expected: str
) -> None:
    router = start(stage, worker)
    assert told(router, worker, {}, request_id=sent) == expected
    assert json.loads(worker.hits[-1].body)["request_id"] == sent
    if "\n" not in sent and len(sent) < 1000:
        assert told(router, worker, {ID: sent.encode()}) == expected


def test_two_of_one_trace_at_once_have_two_ids(stage: Stage) -> None:
    """There are engines that refuse a second request of an id."""
    go = threading.Event()

    def waits(_: Peer) -> bytes:
        assert go.wait(2 * LIMIT)
        return reply(b"{}")

    worker = stage.raw_worker(waits)
    router = start(stage, worker)
    with ThreadPoolExecutor(2) as clients:
        answers = [
            clients.submit(router.post, CHAT, chat_body("hello"), headers={"traceparent": PARENT})
            for _ in range(2)
        ]
        worker.wait_hits(2)
        go.set()
        first, second = sorted((each.result().headers[ID] for each in answers), key=len)
    assert first == TRACE
    assert re.fullmatch(rf"{TRACE}-[0-9a-f]{{8}}", second)
    assert told(router, worker, {"traceparent": PARENT}) == TRACE, "free again"


def test_refusals_have_one_too(stage: Stage, worker: RawWorker) -> None:
    router = start(stage, worker, "server: {max-body-mb: 1, api-keys: [k]}")
    key = {"authorization": "Bearer k"}

    def refused(status: int, headers: dict[str, str], *, path: str = CHAT, content: bytes = b"{}") -> str:
        answer = router.post(path, content=content, headers=headers)
        assert answer.status_code == status
        (known,) = answer.headers.get_list(ID)
        return str(known)

    assert refused(401, {ID: "r-401"}) == "r-401"
    assert refused(400, {ID: "r-400"} | key, content=b"[]") == "r-400"
    assert refused(413, {"traceparent": PARENT} | key, content=b" " * (2 << 20)) == TRACE
    assert refused(404, {ID: "r-404"}, path="/nowhere") == "r-404"
    UUID(refused(404, {}, path="/nowhere"), version=4)
    worker.answer = lambda peer: peer.reset()
    assert refused(502, {ID: "r-502"} | key) == "r-502"


def test_text_lines_name_ids_that_clients_sent(stage: Stage, worker: RawWorker) -> None:
    router = start(stage, worker)

    def tags(headers: dict[str, str], **fields: object) -> set[str]:
        """Those of all lines of a request."""
        router.forget_log()
        told(router, worker, headers, **fields)
        router.wait_log(r"\[POST\] /v1/")
        lines = [line.tags for line in router.log_lines() if not line.message.startswith("[stats]")]
        assert len(lines) >= 5
        assert all(each == lines[0] for each in lines)
        return {f"{name}={value}" for name, value in lines[0]}

    assert tags({}) == set()
    assert tags({ID: "a"}) == {"request_id=a"}
    assert tags({"traceparent": PARENT}) == {f"request_id={TRACE}"}
    assert tags({"x_bd_logid": "t"}, request_id="b", session_id="s") == {
        "trace_id=t",
        "session_id=s",
        "request_id=b",
    }


def test_every_json_line_of_a_request_names_it(stage: Stage, worker: RawWorker) -> None:
    router = start(stage, worker, "log: {format: json}")
    known = told(router, worker, {})
    awkward = told(router, worker, {}, request_id="中]\\ [")

    def lines_of(request_id: str) -> list[str]:
        lines = [json.loads(line) for line in router.log_text().splitlines() if line.endswith("}")]
        return [line["message"] for line in lines if line.get("request_id") == request_id]

    for each in (known, awkward):
        wait_for(lambda: any(CHAT in message for message in lines_of(each)))  # noqa: B023
        assert len(lines_of(each)) >= 5


def story(router: Router, request_id: str) -> list[dict[str, Any]]:
    """The JSON lines of a request, to its access line."""

    def lines() -> list[dict[str, Any]] | None:
        told = [json.loads(line) for line in router.log_text().splitlines() if line.endswith("}")]
        mine = [line for line in told if line.get("request_id") == request_id]
        return mine if any("duration" in line for line in mine) else None

    return wait_for(lines)


def test_json_tells_a_request_s_whole_story(stage: Stage) -> None:
    router = stage.start_router(
        "log: {format: json}\nscheduler: {policy: round_robin}\nupstream: {retry-statuses: [503]}"
    )
    workers = sorted(
        (stage.raw_worker(lambda _: reply(b"{}", 503)) for _ in range(2)), key=lambda each: each.url
    )
    for each in workers:
        assert router.register(each.port).status_code == 200
    workers[1].answer = lambda _: reply(b"{}", 404)
    assert router.post(f"{CHAT}?q=1", chat_body("hello"), headers={ID: "told"}).status_code == 404
    lines = story(router, "told")
    first, second = (each.url for each in workers)
    chosen = [line for line in lines if line["message"].startswith("select worker")]
    assert [(line["worker"], line["policy"], line["role"]) for line in chosen] == [
        (first, "round_robin", "mixed"),
        (second, "round_robin", "mixed"),
    ]
    (again,) = (line for line in lines if "retry: " in line["message"])
    assert (again["level"], again["worker"], again["reason"]) == ("WARN", first, "status 503")
    (ended,) = (line for line in lines if line["message"].startswith("Request completed"))
    assert ended["message"] == "Request completed with an error: status 404."
    assert (ended["worker"], ended["status"]) == (second, 404)
    access = lines[-1]
    assert 0 < access.pop("duration") < LIMIT
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", access.pop("ts"))
    assert access.pop("message").startswith(f"[POST] {CHAT}?q=1 HTTP/1.1 404 ")
    assert access == {
        "level": "INFO",
        "request_id": "told",
        "method": "POST",
        "path": CHAT,
        "status": 404,
        "client": "127.0.0.1",
        "worker": second,
        "policy": "round_robin",
        "attempts": 2,
    }


def test_json_tells_why_a_request_was_refused(stage: Stage) -> None:
    router = stage.start_router("log: {format: json}")
    assert router.post(CHAT, chat_body("hello"), headers={ID: "nobody"}).status_code == 502
    access = story(router, "nobody")[-1]
    assert (access["status"], access["error"]) == (502, "no_worker")
    assert "worker" not in access


@pytest.mark.parametrize("mode", ["mixed", "pair"])
def test_json_tells_of_an_answer_that_broke_off(stage: Stage, mode: str) -> None:
    """Its status went out before: by that alone it looks well."""

    def breaks(peer: Peer) -> None:
        peer.send(sse_head() + b"data: {}\n\n")
        peer.reset()

    router = stage.start_router("log: {format: json}", *(["--splitwise"] if mode == "pair" else []))
    workers = {"decode": stage.raw_worker(breaks), "prefill": stage.raw_worker(says_its_own)}
    for role, worker in workers.items() if mode == "pair" else [("mixed", workers["decode"])]:
        assert router.register(worker.port, role).status_code == 200
    answer = router.post(CHAT, chat_body("hello", stream=True), headers={ID: "broken"})
    assert (answer.status_code, answer.headers[ID]) == (200, "broken")
    assert "reset_mid_body" in answer.text
    lines = story(router, "broken")
    (access,) = (line for line in lines if "duration" in line)
    assert (access["status"], access["error"]) == (200, "reset_mid_body")
    assert not any("completed successfully" in line["message"] for line in lines)


def test_json_tells_why_a_registration_was_refused(stage: Stage) -> None:
    router = stage.start_router("log: {format: json}")
    for known, body in (("unread", b" " * (2 << 20)), ("undecodable", b"{"), ("refused", b"{}")):
        assert router.post("/register", content=body, headers={ID: known}).status_code in {400, 413}
        lines = story(router, known)
        assert [line["level"] for line in lines] == ["ERROR", "INFO"], lines


HOSTILE = (
    *(b'{"request_id": %b}' % value for value in (b'""', b"null", b"5", b'{"a": 1}', b'["x"]', b"1e999")),
    *(
        b'{"request_id": "%b"}' % text
        for text in (rb"\ud800", rb"\u0000\u2028", rb"a\r\nx-evil: 1", b"\xff\xfe", rb"\"")
    ),
    b'{"request_id": "one", "request_id": "two", "session_id": "\\ud800\\n]", "req_id": 7}',
    b'{"model": "\\u0000<script>\\ud800"}',
    b'{"request_id": "%b"}' % (b"z" * 3_000_000),
    b"[]",
    b"",
    b'{"request_id": "broken',
    b"\x00" * 50,
)
"""Bodies of which some cannot be read, and some name what no header can carry."""
HOSTILE_HEADS: tuple[list[tuple[bytes, bytes]], ...] = (
    [],
    [(b"x-request-id", b"\xff\xfe\x80")],
    [(b"x-request-id", b'"\\<b>]'), (b"x-request-id", b"two")],
    [(b"x-request-id", b""), (b"traceparent", b"\xff" * 55), (b"x_bd_logid", b"\xff]")],
)


@pytest.mark.parametrize("mode", ["mixed", "pair"])
def test_whatever_is_sent_has_an_id_and_lines_that_are_json(stage: Stage, mode: str) -> None:
    router = stage.start_router(
        "log: {format: json, level: debug}", *(["--splitwise"] if mode == "pair" else [])
    )
    for role in ("prefill", "decode") if mode == "pair" else ("mixed",):
        assert router.register(stage.raw_worker(says_its_own).port, role).status_code == 200
    known = set()
    for path in (CHAT, "/v1/embeddings", "/register", "/v1/abort_requests", "/nowhere"):
        for body in HOSTILE:
            for head in HOSTILE_HEADS:
                answer = router.post(path, content=body, headers=head)
                assert answer.status_code != 500, (path, body[:80], answer.text)
                (each,) = answer.headers.get_list(ID)
                assert re.fullmatch("[!-~]{1,128}", each), each
                assert "x-evil" not in answer.headers
                known.add(each)
    last = router.get("/health", headers={ID: "the-last"})
    assert last.status_code == 200
    story(router, "the-last")
    lines = [json.loads(line) for line in router.log_text().splitlines()]
    told = {line["request_id"] for line in lines if "duration" in line}
    assert known <= told
    assert not any("panic" in line["message"] for line in lines)


def test_json_tells_of_both_workers_of_a_pair(stage: Stage) -> None:
    router = stage.start_router(
        "log: {format: json}\nscheduler: {prefill-policy: cache_aware}", "--splitwise"
    )
    urls = {}
    for role in ("prefill", "decode"):
        urls[role] = stage.raw_worker(says_its_own)
        assert router.register(urls[role].port, role).status_code == 200
    answer = router.post(CHAT, chat_body(""), headers={ID: "pair"})
    assert answer.status_code == 200
    (access,) = (line for line in story(router, "pair") if "duration" in line)
    assert (access["worker"], access["prefill_worker"]) == (urls["decode"].url, urls["prefill"].url)
    assert access["prefill_reason"] == "tokenize failed: empty prompt for tokenizer"
    assert (access["policy"], access["prefill_policy"], access["attempts"]) == (
        "request_num",
        "process_tokens",
        1,
    )


def test_a_pair_is_told_an_id_of_its_own(stage: Stage, worker: RawWorker) -> None:
    """A proxy that sends a request again sends its id again, and two pairs must not find each other by one."""
    router = stage.start_router("", "--splitwise")
    prefill = stage.raw_worker(says_its_own)
    for each, role in ((prefill, "prefill"), (worker, "decode")):
        assert router.register(each.port, role).status_code == 200

    def pair_id() -> str:
        """What both were told last."""
        prefill.wait_hits(len(worker.hits))
        (known,) = {json.loads(each.hits[-1].body)["request_id"] for each in (prefill, worker)}
        return str(known)

    for headers, expected in (({ID: "of-a-proxy"}, "of-a-proxy"), ({"traceparent": PARENT}, TRACE)):
        assert told(router, worker, headers) == expected
        assert re.fullmatch(rf"{expected}-[0-9a-f]{{8}}", pair_id())
    made = told(router, worker, {})
    assert pair_id() == made
    router.wait_log(rf"\[request_id:{made}\] \[POST\]")
    assert told(router, worker, {ID: "x"}, request_id="mine") == "mine"
    assert pair_id() == "mine"


def test_the_worker_is_named_once(stage: Stage, worker: RawWorker) -> None:
    router = start(stage, worker)
    answer = router.chat("hello")
    assert answer.headers.get_list(URL) == [worker.url]
    worker.answer = lambda peer: peer.reset()
    lost = router.chat("hello")
    assert (lost.status_code, lost.headers.get_list(URL)) == (502, [worker.url])
