"""TLS of the listeners: what the server is given, after a look at the files that tells the operator what is wrong."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from granian.constants import SSLProtocols

from fd_router.errors import ConfigError

if TYPE_CHECKING:
    from fd_router.config import ServerConfig


def server_arguments(server: ServerConfig) -> dict[str, Any]:
    """Arguments of granian's servers; none without a certificate. Raises `ConfigError`.

    The files are read by the worker process when it starts: a new certificate is taken up by a new worker.
    """
    if not server.tls_cert:
        return {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for key, path in (("tls-cert", server.tls_cert), ("tls-key", server.tls_key)):
        _readable(f"server.{key}", path)
    try:
        # Without a function it would ask at the terminal for the password of an encrypted key.
        context.load_cert_chain(server.tls_cert, server.tls_key, _no_password)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"server.tls-cert {server.tls_cert} with server.tls-key: {_reason(error)}"
        ) from error
    arguments: dict[str, Any] = {
        "ssl_cert": Path(server.tls_cert),
        "ssl_key": Path(server.tls_key),
        "ssl_protocol_min": SSLProtocols.tls12,
    }
    if server.tls_client_ca:
        _readable("server.tls-client-ca", server.tls_client_ca)
        try:
            context.load_verify_locations(server.tls_client_ca)
        except ssl.SSLError as error:
            raise ConfigError(f"server.tls-client-ca {server.tls_client_ca}: {_reason(error)}") from error
        arguments |= {"ssl_ca": Path(server.tls_client_ca), "ssl_client_verify": True}
    return arguments


def _readable(key: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise ConfigError(f"{key}: open {path}: {(error.strerror or str(error)).lower()}") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted, which is not supported")


def _reason(error: Exception) -> str:
    return (getattr(error, "reason", None) or str(error)).lower().replace("_", " ")
