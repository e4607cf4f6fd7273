"""TLS of the listeners, as the server is told of it; `files` has looked at the files before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from granian.constants import SSLProtocols

if TYPE_CHECKING:
    from fd_router.config import ServerConfig


def server_arguments(server: ServerConfig) -> dict[str, Any]:
    """Arguments of granian's servers; none without a certificate.

    The files are read by the worker process when it starts: a new certificate is taken up by a new worker.
    """
    if not server.tls_cert:
        return {}
    arguments: dict[str, Any] = {
        "ssl_cert": Path(server.tls_cert),
        "ssl_key": Path(server.tls_key),
        "ssl_protocol_min": SSLProtocols.tls12,
    }
    if server.tls_client_ca:
        arguments |= {"ssl_ca": Path(server.tls_client_ca), "ssl_client_verify": True}
    return arguments
