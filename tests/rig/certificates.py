"""Authorities and certificates, made by openssl for one test run."""

from __future__ import annotations

import ssl
import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Pair(NamedTuple):
    """PEM files of a certificate and its key."""

    cert: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        """Shows it as a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self)
        return context


class Authority:
    """A root with a name, in a folder of its own."""

    def __init__(self, folder: Path, name: str = "root") -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self.root = folder / "ca.pem"
        _openssl(
            "req", "-x509", *_KEY, "-days", "2",
            "-keyout", folder / "ca.key", "-out", self.root, "-subj", f"/CN={name}",
        )  # fmt: skip

    def issue(self, name: str) -> Pair:
        """A certificate for 127.0.0.1 and localhost."""
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        _openssl("req", *_KEY, "-keyout", pair.key, "-out", request, "-subj", f"/CN={name}")
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.root, "-CAkey", self._folder / "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", pair.cert,
        )  # fmt: skip
        return pair

    def client(self, pair: Pair | None = None) -> ssl.SSLContext:
        """Believes this authority alone, and shows a certificate where it has one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.root)
        if pair is not None:
            context.load_cert_chain(*pair)
        return context


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
