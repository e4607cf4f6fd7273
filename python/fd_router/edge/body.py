"""Limits of request bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fd_router.downstream.body import BodyLimits

if TYPE_CHECKING:
    from fd_router.config import ServerConfig

MIB = 1 << 20
CONTROL_BODY_LIMIT = MIB
"""Bytes of a body on the endpoints that do not serve completions."""


def limits(server: ServerConfig, size: int) -> BodyLimits:
    """What is accepted of bodies of up to `size` bytes."""
    return BodyLimits(size, server.body_timeout_secs, server.body_total_timeout_secs)
