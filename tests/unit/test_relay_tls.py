"""https workers: the certificate is verified against the roots, and nothing else will do."""

from __future__ import annotations

import shutil
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from fd_router._core import UpstreamError, root_certificates
from rig.certificates import Authority
from rig.raw_worker import Peer, read_request, reply
from rig.relaying import drive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fd_router._core import Relay

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "root")


@pytest.fixture
def port(authority: Authority) -> Iterator[int]:
    """A TLS worker that echoes bodies."""
    context = authority.issue("worker").server()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                plain, _ = listener.accept()
                with suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
                    pending = b""
                    while True:
                        peer, pending = read_request(connection, pending)
                        if not isinstance(peer, Peer):
                            break
                        peer.send(reply(peer.body))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(20)


def fetch(url: str, body: bytes = b"hello", **limits: Any) -> list[bytes | None]:
    async def run(relay: Relay) -> list[bytes | None]:
        bodies = []
        for _ in range(2):
            exchange = relay.send(url, [], body)
            bodies.append((await exchange.head()).body)
        assert relay.stats().connections == 1
        return bodies

    return drive(run, **limits)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_of_a_known_root(
    authority: Authority, port: int, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    assert fetch(f"https://{host}:{port}/") == [b"hello"] * 2
    body = b"0123456789" * 5000
    assert fetch(f"https://{host}:{port}/", body) == [body] * 2


def test_a_certificate_of_another_root(
    authority: Authority, port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other", "other")
    monkeypatch.setenv("SSL_CERT_FILE", str(other.root))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with pytest.raises(UpstreamError) as caught:
        fetch(f"https://127.0.0.1:{port}/")
    assert (caught.value.kind, caught.value.received) == ("tls", False)


def test_a_worker_that_does_not_speak_tls(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with pytest.raises(UpstreamError) as caught:
        fetch(f"https://127.0.0.1:{listener.getsockname()[1]}/")
    assert caught.value.kind == "tls"
    thread.join(20)
    listener.close()


def test_no_roots_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, port: int) -> None:
    (tmp_path / "empty.pem").write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with pytest.raises(UpstreamError, match="SSL_CERT_FILE") as caught:
        fetch(f"https://127.0.0.1:{port}/")
    assert caught.value.kind == "tls"


def test_roots_of_a_file_go_before_those_of_the_environment(
    authority: Authority, port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other", "other")
    monkeypatch.setenv("SSL_CERT_FILE", str(other.root))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    assert fetch(f"https://127.0.0.1:{port}/", ca_file=authority.root) == [b"hello"] * 2
    assert len(root_certificates(authority.root)) == len(root_certificates()) == 1
    assert root_certificates(authority.root) != root_certificates()


def test_roots_are_read_anew_on_request(authority: Authority, port: int, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(Authority(tmp_path / "other", "other").root.read_bytes())

    async def run(relay: Relay) -> list[object]:
        kinds: list[object] = []
        for _ in range(3):
            try:
                exchange = relay.send(f"https://127.0.0.1:{port}/", [], b"x")
                kinds.append((await exchange.head()).status)
            except UpstreamError as error:
                kinds.append(error.kind)
            ca.write_bytes(authority.root.read_bytes())
            if len(kinds) == 2:
                relay.reload_roots()
        return kinds

    assert drive(run, ca_file=ca) == ["tls", "tls", 200]
