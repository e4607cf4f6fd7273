"""Requests that are no proper HTTP: refused in the endpoint's own shape, never forwarded, and told of as they were
answered. Everything here is sent as raw bytes, so that no library mends it on the way."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from rig import Stage, reply, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig import RawClient, RawWorker, Router

CHAT = "/v1/chat/completions"
ABORT = "/v1/abort_requests"
BODY = b'{"messages":[{"role":"user","content":"hello"}]}'
HOST = "host: router"
CHUNKED = "transfer-encoding: chunked"
LENGTH = f"content-length: {len(BODY)}"


class Answer(NamedTuple):
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served(NamedTuple):
    """A router with one worker."""

    router: Router
    worker: RawWorker

    def ask(self, path: str, headers: tuple[str, ...], body: bytes = b"", *, half: bool = False) -> Answer:
        """Send a POST as it is given, `half` closing the client's direction behind it, and read one answer."""
        with self.router.raw() as client:
            client.send("\r\n".join([f"POST {path} HTTP/1.1", *headers]).encode() + b"\r\n\r\n" + body)
            if half:
                client.socket.shutdown(socket.SHUT_WR)
            return read_answer(client)

    def assert_refused(self, path: str, status: int = 400) -> None:
        """The log and the metrics say of the only request since `forget_log` what its client was told."""
        self.router.wait_log(rf"\[POST\] {path} HTTP/1\.1 {status} ")
        assert " 499 " not in self.router.settled_log()
        assert self.worker.hits == []


def read_answer(client: RawClient) -> Answer:
    """The first answer on a connection."""
    head, _, body = client.read_until(b"\r\n\r\n").partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    length = int(headers["content-length"])
    while len(body) < length:
        piece = client.socket.recv(65_536)
        assert piece, f"cut after {len(body)} of {length} bytes"
        body += piece
    return Answer(int(first.split()[1]), headers, body)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    stage = Stage(tmp_path_factory.mktemp("http"))
    try:
        router = stage.start_router("manager: {health-check-interval-secs: 3600}")
        worker = stage.raw_worker(lambda _: reply(b"{}"))
        assert router.register(worker.port).status_code == 200
        yield Served(router, worker)
    finally:
        stage.close()


@pytest.fixture
def served(shared: Served) -> Iterator[Served]:
    """The router with an empty log and a worker that was asked nothing; after each test it is sound."""
    shared.router.forget_log()
    shared.worker.hits.clear()
    yield shared
    shared.router.assert_idle()
    assert shared.router.chat("sound").status_code == 200
    shared.router.assert_same_worker()


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


LAST = b"0\r\n\r\n"
BROKEN = {
    "size": (CHUNKED, b"zz\r\n" + BODY, False),
    "size-of-the-second": (CHUNKED, chunk(BODY[:10]) + b"zz\r\n", False),
    "longer-than-it-says": (CHUNKED, b"5\r\n" + BODY + b"\r\n" + LAST, False),
    "size-over-64-bits": (CHUNKED, b"f" * 20 + b"\r\n" + BODY, False),
    "extension-over-the-limit": (CHUNKED, chunk(BODY, b";" + b"x" * 20_000) + LAST, False),
    "trailer": (CHUNKED, chunk(BODY) + b"0\r\nx y\r\n\r\n", False),
    "chunks-half-closed": (CHUNKED, chunk(BODY), True),
    "length-half-closed": (f"content-length: {len(BODY) + 1}", BODY, True),
    "nothing-half-closed": ("content-length: 1", b"", True),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_body_of_a_request(served: Served, fault: str) -> None:
    header, body, half = BROKEN[fault]
    before = counts(served.router)
    answer = served.ask(CHAT, (HOST, header), body, half=half)
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json; charset=utf-8")
    assert set(answer.json) == {"error"}
    assert answer.json["error"].startswith("Invalid request body: ")
    served.assert_refused(CHAT)
    assert counts(served.router) - before == 1
    served.router.wait_log(
        r"^\[ERROR\] .* Failed to read request body: (chunks|ended after \d+ of \d+ bytes)"
    )
    assert served.router.metrics().value("fd_router_client_disconnects_total") == 0


def counts(router: Router) -> float:
    """Requests that were answered 400, which both metrics agree on."""
    metrics = router.metrics()
    answered = metrics.value("http_requests_total", endpoint=CHAT, status_code="400")
    assert metrics.value("fd_router_rejected_requests_total", code="bad_request") >= answered
    return answered


@pytest.mark.parametrize("fault", ["size", "length-half-closed"])
@pytest.mark.parametrize(
    ("path", "keys"), [("/register", {"code", "msg"}), ("/unregister", {"code", "msg"}), (ABORT, {"error"})]
)
def test_broken_body_of_an_order(served: Served, path: str, keys: set[str], fault: str) -> None:
    header, body, half = BROKEN[fault]
    answer = served.ask(path, (HOST, header), body, half=half)
    assert (answer.status, set(answer.json)) == (400, keys)
    assert answer.json.get("msg", answer.json.get("error")).startswith("Invalid request body: ")
    assert answer.json.get("code", 400) == 400
    served.assert_refused(path)


def test_a_client_that_is_gone_with_its_body_unsent(served: Served) -> None:
    """It cannot be told from one that closed its direction only: it counts as answered, and nobody is forwarded."""
    with served.router.raw() as client:
        client.send(f"POST {CHAT} HTTP/1.1\r\n{HOST}\r\ncontent-length: 100\r\n\r\n{{".encode())
        wait_for(lambda: served.router.get("/health").status_code == 200)
        client.reset()
    served.assert_refused(CHAT)
    served.router.wait_log(r"^\[ERROR\] .* Failed to read request body: ended after 1 of 100 bytes$")


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "identity, br", 'x-"<'])
@pytest.mark.parametrize(("path", "key"), [(CHAT, "error"), (ABORT, "error"), ("/register", "msg")])
def test_compressed_bodies(served: Served, path: str, key: str, coding: str) -> None:
    """They are not read, so that what they unfold to is nobody's trouble, and the reason is told."""
    answer = served.ask(path, (HOST, f"content-encoding: {coding}", LENGTH), BODY)
    assert (answer.status, answer.headers["content-type"]) == (415, "application/json; charset=utf-8")
    assert answer.json[key].startswith("Invalid request body: Content-Encoding ")
    assert answer.headers.get("accept-encoding", "identity") == "identity"
    served.assert_refused(path, 415)


@pytest.mark.parametrize("coding", ["", "identity", "Identity, identity"])
def test_bodies_that_are_encoded_in_name_only(served: Served, coding: str) -> None:
    assert served.ask(CHAT, (HOST, f"content-encoding: {coding}", LENGTH), BODY).status == 200
    assert [hit.body for hit in served.worker.hits] == [BODY]


HEADS = {
    "no-host": (LENGTH,),
    "empty-host": ("host:", LENGTH),
    "two-hosts": (HOST, HOST, LENGTH),
    "host-with-a-space": ("host: a b", LENGTH),
    "host-with-a-path": ("host: a/b", LENGTH),
    "host-with-a-user": ("host: u@a", LENGTH),
    "host-with-no-port": ("host: a:b", LENGTH),
    "host-in-half-a-bracket": ("host: [::1", LENGTH),
    "coded-otherwise-too": (HOST, "transfer-encoding: gzip, chunked"),
    "chunked-twice": (HOST, "transfer-encoding: chunked, chunked"),
    "chunked-in-two-headers": (HOST, CHUNKED, CHUNKED),
}


@pytest.mark.parametrize("fault", HEADS)
@pytest.mark.parametrize(("path", "key"), [(CHAT, "error"), ("/register", "msg")])
def test_head_that_means_several_things(served: Served, path: str, key: str, fault: str) -> None:
    headers = HEADS[fault]
    body = BODY if LENGTH in headers else chunk(BODY) + LAST
    answer = served.ask(path, headers, body)
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json; charset=utf-8")
    assert answer.json[key].startswith("Invalid request: ")
    served.assert_refused(path)


@pytest.mark.parametrize("fault", ["no-host", "two-hosts"])
def test_head_of_a_question(served: Served, fault: str) -> None:
    headers = [header for header in HEADS[fault] if header != LENGTH]
    with served.router.raw() as client:
        client.send("\r\n".join(["GET /registered_number HTTP/1.1", *headers]).encode() + b"\r\n\r\n")
        answer = read_answer(client)
    assert (answer.status, set(answer.json)) == (400, {"error"})


@pytest.mark.parametrize(
    "host", ["a", "a.b-c_d", "127.0.0.1:8080", "[::1]", "[::1]:8080", "[::ffff:1.2.3.4]:1", "a:"]
)
def test_hosts_that_are_well_formed(served: Served, host: str) -> None:
    assert served.ask(CHAT, (f"host: {host}", LENGTH), BODY).status == 200
    assert [hit.header("host") for hit in served.worker.hits] == [[served.worker.url.removeprefix("http://")]]


def test_http_1_0_needs_no_host(served: Served) -> None:
    with served.router.raw() as client:
        client.send(b"GET /health HTTP/1.0\r\n\r\n")
        assert client.read_to_end().startswith(b"HTTP/1.0 200 ")


@pytest.mark.parametrize("order", [(CHUNKED, LENGTH), (LENGTH, CHUNKED)], ids=["first", "last"])
def test_length_beside_chunks(served: Served, order: tuple[str, str]) -> None:
    """The HTTP server goes by the chunks, drops the length and closes (RFC 9112, 6.3): nobody behind it sees two."""
    smuggled = f"POST /unregister HTTP/1.1\r\n{HOST}\r\n{LENGTH}\r\n\r\n".encode() + BODY
    with served.router.raw() as client:
        head = "\r\n".join([f"POST {CHAT} HTTP/1.1", HOST, *order]).encode()
        client.send(head + b"\r\n\r\n" + chunk(BODY) + LAST + smuggled)
        answers = client.read_to_end()
    assert answers.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answers
    (hit,) = served.worker.hits
    assert (hit.body, hit.header("content-length"), hit.header("transfer-encoding")) == (
        BODY,
        [str(len(BODY))],
        [],
    )
    assert "/unregister" not in served.router.settled_log()


UNREADABLE = {
    "request-line": b"POST /a b HTTP/1.1\r\nhost: a\r\n\r\n",
    "tls": b"\x16\x03\x01\x00\xa5\x01\x00\x00\r\n\r\n",
    "header-name": b"POST /register HTTP/1.1\r\nhost: a\r\na b: c\r\n\r\n",
    "folded": b"POST /register HTTP/1.1\r\nhost: a\r\na: b\r\n c\r\n\r\n",
    "space-before-colon": b"POST /register HTTP/1.1\r\nhost: a\r\ncontent-length : 1\r\n\r\n1",
    "lengths-that-differ": b"POST /register HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n12",
    "length-of-no-digits": b"POST /register HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\n1",
    "not-chunked": b"POST /register HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
    "chunks-of-1.0": b"POST /register HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("fault", UNREADABLE)
def test_head_that_cannot_be_read(served: Served, fault: str) -> None:
    """The HTTP server answers by itself, without a body, and closes: no line, no count."""
    with served.router.raw() as client:
        client.send(UNREADABLE[fault])
        answer = client.read_to_end()
    assert answer.split(b" ", 2)[1] == b"400"
    assert b"\r\nconnection: close\r\ncontent-length: 0\r\n" in answer
    assert served.worker.hits == []


UNREAD = {
    "announced as too long": (CHAT, "content-length: 300000000", 413),
    "in chunks": ("/nowhere", CHUNKED, 404),
    "longer than comes along": ("/nowhere", "content-length: 5000", 404),
    "compressed": (CHAT, "content-length: 5000\r\ncontent-encoding: gzip", 415),
    "waited for": ("/nowhere", "content-length: 5\r\nexpect: 100-continue", 404),
}


@pytest.mark.parametrize("fault", UNREAD)
def test_an_answer_before_a_long_body_was_read_is_its_connections_last(served: Served, fault: str) -> None:
    path, length, status = UNREAD[fault]
    with served.router.raw() as client:
        client.send(f"POST {path} HTTP/1.1\r\n{HOST}\r\n{length}\r\n\r\n".encode() + b"x")
        answer = read_answer(client)
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert client.read_to_end().count(b"HTTP/1.1") == 1


def test_a_short_body_that_is_not_read_keeps_its_connection(served: Served) -> None:
    with served.router.raw() as client:
        for _ in range(3):
            client.received = b""
            client.post("/nowhere", b"x" * 4096)
            answer = read_answer(client)
            assert (answer.status, answer.headers.get("connection")) == (404, None)


def test_more_headers_than_are_read(served: Served) -> None:
    with served.router.raw() as client:
        client.send(f"GET /health HTTP/1.1\r\n{HOST}\r\n".encode() + b"a: b\r\n" * 200 + b"\r\n")
        assert client.read_to_end().startswith(b"HTTP/1.1 431 ")
