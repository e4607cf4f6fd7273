"""Words that every layer shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["mixed", "prefill", "decode"]
Source: TypeAlias = Literal["register", "file", "cluster"]
"""How a worker became known: it registered, the register file names it, or it registered with another replica."""
Headers: TypeAlias = list[tuple[bytes, bytes]]
"""HTTP headers as ASGI has them: lower-case names in order, a name may stand more than once."""
ROLES: tuple[Role, ...] = ("mixed", "prefill", "decode")


@dataclass(frozen=True, slots=True)
class Instance:
    """What a worker said of itself when it registered.

    Ports are decimal strings as `/registered` shows them, `""` where none was sent; lists are None where the
    worker sent none. `tp_size` is 0 where none was sent.
    """

    role: Role
    host: str
    """IP literal, IPv6 in brackets."""
    port: int
    scheme: Literal["http", "https"] = "http"
    connector_port: str = ""
    engine_worker_queue_port: str = ""
    transfer_protocol: tuple[str, ...] | None = None
    rdma_ports: tuple[str, ...] | None = None
    device_ids: tuple[str, ...] | None = None
    metrics_port: str = ""
    tp_size: int = 0
    cache_tokens: int | None = None
    """Tokens that the engine's prefix cache holds; None where none was sent."""
    version: str = ""
    """What the engine calls its version; `""` where none was sent."""
    models: tuple[str, ...] | None = None
    """Names of the models that it serves; None where none were sent."""
    endpoints: tuple[str, ...] | None = None
    """Paths that it serves by itself in PD mode, beside its part in pairs."""

    @property
    def url(self) -> str:
        """The worker's identity: `scheme://host:port`."""
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def metrics_url(self) -> str:
        """Where the engine's own metrics are read."""
        return f"{self.scheme}://{self.host}:{self.metrics_port or self.port}/metrics"
