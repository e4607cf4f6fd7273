"""https workers: the certificate is verified against the roots, and nothing else will do."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from fd_router._core import UpstreamError
from rig.raw_worker import Peer, read_request, reply
from rig.relaying import drive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fd_router._core import Relay

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root (ca.pem) and a certificate of it for 127.0.0.1 (cert.pem, key.pem)."""
    folder = tmp_path_factory.mktemp("tls")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    openssl(
        "req", "-x509", *key, "-keyout", folder / "ca.key", "-out", folder / "ca.pem", "-subj", "/CN=root"
    )
    openssl(
        "req", *key[:-2], "-keyout", folder / "key.pem", "-out", folder / "csr.pem", "-subj", "/CN=worker"
    )
    (folder / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")
    signer = ["-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial"]
    openssl(
        "x509", "-req", "-in", folder / "csr.pem", *signer, "-days", "2", "-extfile", folder / "ext",
        "-out", folder / "cert.pem",
    )  # fmt: skip
    return folder


@pytest.fixture
def port(certificates: Path) -> Iterator[int]:
    """A TLS worker that echoes bodies."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
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


def fetch(url: str, body: bytes = b"hello") -> list[bytes | None]:
    async def run(relay: Relay) -> list[bytes | None]:
        bodies = []
        for _ in range(2):
            exchange = relay.send(url, [], body)
            bodies.append((await exchange.head).body)
        assert relay.stats().connections == 1
        return bodies

    return drive(run)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_of_a_known_root(
    certificates: Path, port: int, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    assert fetch(f"https://{host}:{port}/") == [b"hello"] * 2
    body = b"0123456789" * 5000
    assert fetch(f"https://{host}:{port}/", body) == [body] * 2


def test_a_certificate_of_another_root(
    certificates: Path, port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-keyout", tmp_path / "k", "-out", tmp_path / "other.pem", "-subj", "/CN=other",
    )  # fmt: skip
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with pytest.raises(UpstreamError) as caught:
        fetch(f"https://127.0.0.1:{port}/")
    assert (caught.value.kind, caught.value.received) == ("tls", False)


def test_a_worker_that_does_not_speak_tls(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
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
