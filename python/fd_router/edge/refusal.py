"""Errors of the router as answers: in the shapes of the Go router, or in the one that official clients show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from fd_router.edge.served import MESSAGES
from fd_router.errors import ModelNotFoundError

if TYPE_CHECKING:
    from fd_router.downstream.client import Client
    from fd_router.errors import RouterError, Side

Shape: TypeAlias = Literal["coded", "plain", "openai"]
"""`coded` has `code` and `msg`, `plain` a text under `error`, `openai` an object under `error`."""

TYPES: dict[Side, str] = {
    "client": "invalid_request_error",
    "router": "router_error",
    "upstream": "upstream_error",
}
"""The `type` of an error by whose fault it is; those of a stream's last event are of the same."""


def payload(error: RouterError, shape: Shape, client: Client) -> dict[str, Any]:
    """The JSON that tells a client of an error."""
    if shape == "coded":
        return {"code": error.status, "msg": str(error)}
    told: dict[str, Any] = {"error": str(error)}
    if isinstance(error, ModelNotFoundError):
        shape, told = "openai", error.payload()
    elif shape == "openai":
        told = nested(str(error), TYPES[error.side], error.code)
    if shape == "openai" and client.path == MESSAGES:
        # Clients of this protocol know an error by it.
        told = {"type": "error"} | told
    if client.pair_id is not None:
        told["request_id"] = client.pair_id
    return told


def nested(message: str, kind: str, code: str) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "code": code}}
