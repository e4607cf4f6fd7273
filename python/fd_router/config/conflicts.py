"""Keys that are fine one by one and cannot stand together."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fd_router.config.schema import Config


def conflicts(config: Config) -> Iterator[str]:
    """One line for each: the key, and what it asks of another."""
    server = config.server
    if server.tls_cert and not server.tls_key:
        yield "server.tls-cert: needs server.tls-key"
    if server.tls_key and not server.tls_cert:
        yield "server.tls-key: needs server.tls-cert"
    if server.tls_client_ca and not server.tls_cert:
        yield "server.tls-client-ca: needs server.tls-cert and server.tls-key"
    if server.admin_port == server.port:
        yield f"server.admin-port: {server.admin_port} is server.port, accepted: another port"
