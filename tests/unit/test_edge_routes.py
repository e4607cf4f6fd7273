"""The table of routes as one listener has it, the shapes of errors, and what pages of other origins may do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fd_router._core import UpstreamError
from fd_router.edge import refusal
from fd_router.edge.cors import Cors
from fd_router.edge.listing import Listing
from fd_router.edge.routes import ADMIN_GUARDS, DATA_GUARDS, ROUTES, table
from fd_router.edge.served import CHAT, MESSAGES, PAIRED, READINGS, SERVED
from fd_router.errors import BadGatewayError, BadRequestError, ConfigError, ModelNotFoundError, NoWorkerError
from fd_router.fleet.control_calls import CALLS
from fd_router.routing.delivery import NAMED_EVENTS, error_event


class Anything:
    """Has every attribute."""

    def __getattr__(self, name: str) -> Any:
        return name if name.startswith("__") else Anything()


def listing(extra: tuple[str, ...] = (), *, openai: bool = False, guards: Any = DATA_GUARDS) -> Listing:
    endpoints: Any = Anything()
    return Listing(table(extra), endpoints, guards=guards, openai=openai)


def client(path: str = CHAT, pair_id: str | None = None, origin: bytes | None = None) -> Any:
    headers = [(b"host", b"h")] + ([(b"origin", origin)] if origin else [])
    return SimpleNamespace(path=path, pair_id=pair_id, headers=headers, shared=None)


def test_extra_paths_are_served_to_clients() -> None:
    more = listing(("POST /v2/embed", "GET /version"))
    assert {("POST", "/v2/embed"), ("GET", "/version")} <= more.handlers.keys() == more.guards.keys()
    assert more.guards["GET", "/version"] == "client"
    assert ("GET", "/version") not in listing(("GET /version",), guards=ADMIN_GUARDS).handlers


@pytest.mark.parametrize("path", ["/register", "/v1/embeddings", "/metrics", "/v1/models/load"])
def test_extra_paths_are_none_of_ours(path: str) -> None:
    with pytest.raises(ConfigError, match=f"server.extra-paths: {path} is served already"):
        table((f"PUT {path}",))


def test_every_reading_is_explained_and_only_completions_are_paired() -> None:
    assert set(SERVED.values()) == set(READINGS)
    assert [path for path, reading in SERVED.items() if reading in PAIRED] == [CHAT, "/v1/completions"]
    assert NAMED_EVENTS == MESSAGES


def test_head_never_does_what_get_does_where_that_changes_something() -> None:
    unsafe = {call.path for call in CALLS}
    for route in ROUTES:
        assert route.head != "get" or (route.method == "GET" and route.path not in unsafe)
    here = listing(guards=ADMIN_GUARDS)
    for call in CALLS:
        assert here.handlers["HEAD", call.path] == here._exists
        assert here.methods(call.path) == f"{call.method}, HEAD"
    assert ("HEAD", CHAT) not in listing().handlers


def test_shapes_of_errors() -> None:
    both = DATA_GUARDS | ADMIN_GUARDS
    go, openai = listing(guards=both), listing(openai=True, guards=both)
    shapes = {path: (go.shape(path), openai.shape(path)) for path in (CHAT, "/register", "/metrics", "/nope")}
    assert shapes == {
        CHAT: ("plain", "openai"),
        "/register": ("coded", "coded"),
        "/metrics": ("plain", "plain"),
        "/nope": ("plain", "openai"),
    }


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (BadRequestError("said"), "invalid_request_error", "bad_request"),
        (NoWorkerError("said"), "router_error", "no_worker"),
        (BadGatewayError("said"), "upstream_error", "bad_gateway"),
    ],
)
def test_an_error_in_each_shape(error: Any, kind: str, code: str) -> None:
    nested = {"error": {"message": "said", "type": kind, "code": code}}
    assert refusal.payload(error, "plain", client()) == {"error": "said"}
    assert refusal.payload(error, "coded", client(pair_id="r")) == {"code": error.status, "msg": "said"}
    assert refusal.payload(error, "openai", client()) == nested
    assert refusal.payload(error, "openai", client(pair_id="r")) == nested | {"request_id": "r"}
    assert refusal.payload(error, "openai", client(MESSAGES)) == {"type": "error"} | nested


def test_a_model_that_nobody_serves_has_one_shape() -> None:
    error = ModelNotFoundError("m")
    for shape in ("plain", "openai"):
        told = refusal.payload(error, shape, client())
        assert (told["error"]["code"], told["error"]["param"]) == ("model_not_found", "model")
    assert refusal.payload(error, "plain", client(MESSAGES))["type"] == "error"


def test_the_last_event_of_a_stream_has_a_name_where_names_count() -> None:
    error = UpstreamError("gone")
    error.kind = "reset_mid_body"
    said = b'"error":{"message":"worker failed: gone","type":"upstream_error","code":"reset_mid_body"}}\n\n'
    assert error_event(error, CHAT) == b"data: {" + said
    assert error_event(error, MESSAGES) == b'event: error\ndata: {"type":"error",' + said


def admitted(cors: Cors, origin: bytes) -> Any:
    asking = client(origin=origin)
    cors.admit(asking)
    # An engine that has its own opinion is not asked for it.
    assert asking.headers == [(b"host", b"h")]
    return asking.shared


def test_origins_are_let_in_by_name() -> None:
    cors = Cors(["https://a.example"])
    allowed = (b"access-control-allow-origin", b"https://A.example")
    assert admitted(cors, b"https://A.example") == [(b"vary", b"Origin"), allowed]
    assert admitted(cors, b"https://a.example.evil.example") == [(b"vary", b"Origin")]
    assert admitted(cors, b"null") == [(b"vary", b"Origin")]
    assert admitted(Cors(["*"]), b"null") == [(b"access-control-allow-origin", b"*")]
    nobody = client()
    cors.admit(nobody)
    assert nobody.shared is None
