"""Registering, and what comes of it."""

from __future__ import annotations

from typing import Any

import httpx

from rig import Router

SUCCESS = {"code": 200, "msg": "Register success"}
CHECKED = "invalid InstanceInfo format:"
DECODED = "Invalid InstanceInfo JSON format: "


def refused(answer: httpx.Response, status: int = 400) -> str:
    """The message of a refusal whose status stands in the body too."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    payload = answer.json()
    assert list(payload) == ["code", "msg"]
    assert payload["code"] == status
    message: str = payload["msg"]
    return message


def ask(router: Router, **fields: object) -> httpx.Response:
    """Register with a port where nobody listens, unless the fields say otherwise."""
    return router.post("/register", {"role": "mixed", "host_ip": "127.0.0.1", "port": 1, **fields})


def only(router: Router, role: str = "mixed") -> dict[str, Any]:
    (item,) = router.registered()[role]
    return item
