"""The table of routes: what is served, by whom. Everything that lists paths derives from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from fd_router.edge.inference import CHAT, COMPLETIONS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fd_router.downstream.client import Client
    from fd_router.edge.control import Control
    from fd_router.edge.inference import Inference
    from fd_router.edge.status import Status

Handler: TypeAlias = "Callable[[Client], Awaitable[None]]"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Everybody who answers requests."""

    inference: Inference
    control: Control
    status: Status


class Route(NamedTuple):
    """One method of one path; `handler` finds who answers it."""

    method: str
    path: str
    handler: Callable[[Endpoints], Handler]


ROUTES = (
    Route("POST", CHAT, lambda to: to.inference.complete),
    Route("POST", COMPLETIONS, lambda to: to.inference.complete),
    Route("GET", "/v1/models", lambda to: to.status.models),
    Route("POST", "/v1/abort_requests", lambda to: to.control.abort),
    Route("POST", "/register", lambda to: to.control.register),
    Route("POST", "/unregister", lambda to: to.control.unregister),
    Route("GET", "/registered", lambda to: to.status.registered),
    Route("GET", "/registered_number", lambda to: to.status.registered_number),
    Route("GET", "/health_generate", lambda to: to.control.health_generate),
    Route("GET", "/health", lambda to: to.status.health),
    Route("GET", "/ready", lambda to: to.status.ready),
    Route("GET", "/metrics", lambda to: to.status.metrics),
)

METHODS = ("POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")
"""Methods that are metric labels of their own; any other counts as `other`."""

ENDPOINTS = tuple(dict.fromkeys(route.path for route in ROUTES))
"""Paths that are metric labels of their own; any other counts as `other`."""
