"""What a configuration needs of the machine, certificates and OpenTelemetry: looked at at the start and by `--check`.

Without a look the worker process would find out, where the message is the server's or the extension's.
"""

from __future__ import annotations

import ssl
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fd_router.errors import ConfigError
from fd_router.upstream.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fd_router.config import Config, LogConfig, ServerConfig

OTEL = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
"""What the extra `otel` brings."""


def problems(config: Config) -> Iterator[ConfigError]:
    """What the start would be refused for."""
    found = (
        listeners_problem(config.server),
        _problem(Trust(config.upstream.ca_file).check),
        _problem(partial(_tracing, config.log)),
    )
    return (problem for problem in found if problem is not None)


def listeners_problem(server: ServerConfig) -> ConfigError | None:
    """Why the listeners could not use their files."""
    return _problem(partial(_listeners, server))


def _problem(look: Callable[[], None]) -> ConfigError | None:
    try:
        look()
    except ConfigError as error:
        return error
    return None


def _listeners(server: ServerConfig) -> None:
    """Raise `ConfigError` for what `process.tls` would give the server and the server could not use."""
    if not server.tls_cert:
        return
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
    if server.tls_client_ca:
        _readable("server.tls-client-ca", server.tls_client_ca)
        try:
            context.load_verify_locations(server.tls_client_ca)
        except ssl.SSLError as error:
            raise ConfigError(f"server.tls-client-ca {server.tls_client_ca}: {_reason(error)}") from error


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


def _tracing(settings: LogConfig) -> None:
    # Not imported: the supervisor asks too, and has no use for it.
    if settings.tracing and not all(map(_installed, OTEL)):
        raise ConfigError("log.tracing needs OpenTelemetry: pip install 'fd-router[otel]'")


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
