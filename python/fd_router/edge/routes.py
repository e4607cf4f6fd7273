"""The table of routes: what is served, by whom. Everything that lists paths derives from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from fd_router.edge.inference import CHAT, COMPLETIONS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fd_router.downstream.client import Client
    from fd_router.edge.access import Guard
    from fd_router.edge.control import Control
    from fd_router.edge.inference import Inference
    from fd_router.edge.status import Status
    from fd_router.edge.workers import Workers

Handler: TypeAlias = "Callable[[Client], Awaitable[None]]"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Everybody who answers requests."""

    inference: Inference
    control: Control
    status: Status
    workers: Workers


class Route(NamedTuple):
    """One method of one path; `handler` finds who answers it, and `guard` tells whom it answers.

    Errors of a `coded` one are `{"code": ..., "msg": ...}`, as all its answers are, of any other `{"error": ...}`.
    """

    method: str
    path: str
    guard: Guard
    handler: Callable[[Endpoints], Handler]
    coded: bool = False


MODELS = "/v1/models"

ROUTES = (
    Route("POST", CHAT, "client", lambda to: to.inference.complete),
    Route("POST", COMPLETIONS, "client", lambda to: to.inference.complete),
    Route("GET", MODELS, "client", lambda to: to.status.models),
    Route("GET", f"{MODELS}/{{id}}", "client", lambda to: to.status.model),
    Route("POST", "/v1/abort_requests", "operator", lambda to: to.control.abort),
    Route("POST", "/register", "engine", lambda to: to.control.register, coded=True),
    Route("POST", "/unregister", "operator", lambda to: to.control.unregister, coded=True),
    Route("GET", "/workers", "operator", lambda to: to.workers.workers),
    Route("POST", "/workers/drain", "operator", lambda to: to.workers.drain, coded=True),
    Route("POST", "/workers/undrain", "operator", lambda to: to.workers.undrain, coded=True),
    Route("POST", "/workers/eject", "operator", lambda to: to.workers.eject, coded=True),
    Route("POST", "/workers/readmit", "operator", lambda to: to.workers.readmit, coded=True),
    Route("GET", "/status", "operator", lambda to: to.workers.status),
    Route("GET", "/registered", "operator", lambda to: to.status.registered, coded=True),
    Route("GET", "/registered_number", "operator", lambda to: to.status.registered_number),
    Route("GET", "/health_generate", "operator", lambda to: to.control.health_generate, coded=True),
    Route("GET", "/health", "anyone", lambda to: to.status.health),
    Route("GET", "/ready", "anyone", lambda to: to.status.ready),
    Route("GET", "/metrics", "operator", lambda to: to.status.metrics),
)


def pattern_of(path: str) -> str:
    """The path of the route that a request's path belongs to: an id of a model is anything, slashes included."""
    within = path.startswith(f"{MODELS}/") and len(path) > len(MODELS) + 1
    return f"{MODELS}/{{id}}" if within else path


DATA_GUARDS: frozenset[Guard] = frozenset({"client", "anyone"})
"""Whose endpoints `server.port` has where there is a `server.admin-port`."""
ADMIN_GUARDS: frozenset[Guard] = frozenset({"operator", "engine", "anyone"})
"""Whose endpoints `server.admin-port` has."""

METHODS = ("POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")
"""Methods that are metric labels of their own; any other counts as `other`."""

ENDPOINTS = tuple(dict.fromkeys(route.path for route in ROUTES))
"""Paths that are metric labels of their own; any other counts as `other`."""
