"""The table of routes: what is served, by whom. Everything that lists paths derives from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from fd_router.edge import decisions
from fd_router.edge.served import CHAT, COMPLETIONS, SERVED
from fd_router.errors import ConfigError
from fd_router.fleet.control_calls import CALLS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from fd_router.downstream.client import Client
    from fd_router.edge.access import Guard
    from fd_router.edge.control import Control
    from fd_router.edge.dashboard import Dashboard
    from fd_router.edge.decisions import Decisions
    from fd_router.edge.inference import Inference
    from fd_router.edge.overview import Overview
    from fd_router.edge.status import Status
    from fd_router.edge.workers import Workers

Handler: TypeAlias = "Callable[[Client], Awaitable[None]]"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Everybody who answers requests."""

    inference: Inference
    control: Control
    status: Status
    overview: Overview
    workers: Workers
    decisions: Decisions
    dashboard: Dashboard


class Route(NamedTuple):
    """One method of one path; `handler` finds who answers it, and `guard` tells whom it answers.

    Errors of a `coded` one are `{"code": ..., "msg": ...}`, as all its answers are, of any other `{"error": ...}`.
    `head` tells what `HEAD` does: as `GET`, or say that the endpoint exists; the Go router's endpoints do not know it.
    """

    method: str
    path: str
    guard: Guard
    handler: Callable[[Endpoints], Handler]
    coded: bool = False
    head: Literal["none", "get", "exists"] = "none"


MODELS = "/v1/models"
DASHBOARD = "/dashboard"
WITHIN = (
    (f"{MODELS}/", f"{MODELS}/{{id}}"),
    (f"{DASHBOARD}/", f"{DASHBOARD}/{{file}}"),
    (f"{decisions.PATH}/", f"{decisions.PATH}/{{request_id}}"),
)
"""Routes whose path ends with something that a request chooses, by what comes before it."""

ROUTES = (
    Route("POST", CHAT, "client", lambda to: to.inference.serve),
    Route("POST", COMPLETIONS, "client", lambda to: to.inference.serve),
    *(
        Route("POST", path, "client", lambda to: to.inference.serve, head="exists")
        for path in SERVED
        if path not in (CHAT, COMPLETIONS)
    ),
    Route("GET", MODELS, "client", lambda to: to.status.models),
    Route("GET", f"{MODELS}/{{id}}", "client", lambda to: to.status.model),
    Route("POST", "/v1/abort_requests", "operator", lambda to: to.control.abort),
    *(Route(call.method, call.path, "operator", lambda to: to.control.call, head="exists") for call in CALLS),
    Route("POST", "/register", "engine", lambda to: to.control.register, coded=True),
    Route("POST", "/unregister", "operator", lambda to: to.control.unregister, coded=True),
    Route("GET", "/workers", "operator", lambda to: to.overview.workers, head="get"),
    Route("POST", "/workers/drain", "operator", lambda to: to.workers.drain, coded=True),
    Route("POST", "/workers/undrain", "operator", lambda to: to.workers.undrain, coded=True),
    Route("POST", "/workers/eject", "operator", lambda to: to.workers.eject, coded=True),
    Route("POST", "/workers/readmit", "operator", lambda to: to.workers.readmit, coded=True),
    Route("GET", "/status", "operator", lambda to: to.overview.status, head="get"),
    Route("GET", decisions.PATH, "operator", lambda to: to.decisions.last, head="get"),
    Route("GET", f"{decisions.PATH}/{{request_id}}", "operator", lambda to: to.decisions.about, head="get"),
    Route("GET", DASHBOARD, "visitor", lambda to: to.dashboard.page, head="get"),
    Route("GET", f"{DASHBOARD}/{{file}}", "visitor", lambda to: to.dashboard.part, head="get"),
    Route("GET", "/registered", "operator", lambda to: to.status.registered, coded=True),
    Route("GET", "/registered_number", "operator", lambda to: to.status.registered_number),
    Route("GET", "/health_generate", "operator", lambda to: to.control.health_generate, coded=True),
    Route("POST", "/reload", "operator", lambda to: to.control.reload, coded=True),
    Route("GET", "/health", "anyone", lambda to: to.status.health, head="get"),
    Route("GET", "/ready", "anyone", lambda to: to.status.ready, head="get"),
    Route("GET", "/metrics", "operator", lambda to: to.status.metrics, head="get"),
)


def pattern_of(path: str) -> str:
    """The path of the route that a request's path belongs to: an id is anything, slashes included."""
    for parent, pattern in WITHIN:
        if path.startswith(parent) and len(path) > len(parent):
            return pattern
    return path


DATA_GUARDS: frozenset[Guard] = frozenset({"client", "anyone"})
"""Whose endpoints `server.port` has where there is a `server.admin-port`."""
ADMIN_GUARDS: frozenset[Guard] = frozenset({"operator", "engine", "visitor", "anyone"})
"""Whose endpoints `server.admin-port` has."""

METHODS = ("POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")
"""Methods that are metric labels of their own; any other counts as `other`."""


def paths_of(routes: Sequence[Route]) -> tuple[str, ...]:
    """The paths of a table, which are metric labels of their own, patterns too; any other counts as `other`."""
    return tuple(dict.fromkeys(route.path for route in routes))


def table(extra: Sequence[str]) -> tuple[Route, ...]:
    """All that is served, with `server.extra-paths`. Raises `ConfigError` for one of these that is there already."""
    own = {route.path for route in ROUTES}
    more = []
    for endpoint in extra:
        method, _, path = endpoint.partition(" ")
        if pattern_of(path) in own:
            raise ConfigError(f"server.extra-paths: {path} is served already, accepted: other paths")
        more.append(Route(method, path, "client", lambda to: to.inference.serve))
    return (*ROUTES, *more)
