"""Registrations: what an engine sends, checked as the Go router checks it, and how `/registered` shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import orjson

from fd_router.errors import RegistrationError, UndecodableError
from fd_router.fleet.registration.fields import FIELDS, FieldError, read_fields
from fd_router.fleet.registration.rules import check, host_of, port_of

if TYPE_CHECKING:
    from fd_router.types import Instance

__all__ = [
    "MAX_BODY_BYTES",
    "host_name",
    "instance_from_mapping",
    "parse_instance",
    "to_body",
    "to_item",
    "unregister_url",
    "with_host",
]

MAX_BODY_BYTES = 65_536
"""An instance is kept as long as it is registered and travels in each PD request: it must be small."""

_NAME = re.compile(
    r"(?=.{1,253}$)(?:[a-z0-9_][a-z0-9_-]{0,62}\.)*(?![0-9]+\.?$)[a-z0-9][a-z0-9-]{0,62}\.?", re.IGNORECASE
)
_URL = re.compile(r"(?:(https?)://)?(.+):([0-9]+)/?")


def parse_instance(raw: bytes, *, splitwise: bool) -> Instance:
    """Read the JSON body of `POST /register`; `splitwise` is PD mode. Raises `RegistrationError` (400)."""
    if len(raw) > MAX_BODY_BYTES:
        raise _undecodable(f"{len(raw)} bytes, accepted: up to {MAX_BODY_BYTES}")
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _undecodable(str(error)) from error
    # null is an instance without any field upstream, and is told so.
    return instance_from_mapping({} if document is None else document, splitwise=splitwise)


def instance_from_mapping(obj: object, *, splitwise: bool) -> Instance:
    """Read an instance from the plain values of JSON or YAML. Raises `RegistrationError` (400)."""
    if not isinstance(obj, Mapping):
        raise _undecodable(f"found {type(obj).__name__}, accepted: object")
    try:
        fields = read_fields(obj)
    except FieldError as error:
        raise _undecodable(str(error)) from error
    return check(fields, splitwise=splitwise)


def to_item(instance: Instance) -> dict[str, object]:
    """An instance as an item of `/registered`, the keys in upstream's order; one of our own only where it was sent."""
    item: dict[str, object] = {
        "url": instance.url,
        "worker_type": instance.role,
        "connector_port": instance.connector_port,
        "engine_worker_queue_port": instance.engine_worker_queue_port,
        "transfer_protocol": _listed(instance.transfer_protocol),
        "rdma_ports": _listed(instance.rdma_ports),
        "device_ids": _listed(instance.device_ids),
        "metrics_port": instance.metrics_port,
        "tp_size": instance.tp_size,
    }
    if instance.cache_tokens is not None:
        item["cache_tokens"] = instance.cache_tokens
    if instance.version:
        item["version"] = instance.version
    if instance.models is not None:
        item["models"] = list(instance.models)
    if instance.endpoints is not None:
        item["endpoints"] = list(instance.endpoints)
    return item


def to_body(instance: Instance) -> dict[str, object]:
    """An instance as the body of the registration that makes it: every field that is sent, where there is a value."""
    sent = {name: getattr(instance, name) for name in FIELDS if name != "host_ip"}
    prefix = "https://" if instance.scheme == "https" else ""
    return {"host_ip": prefix + instance.host} | {
        name: value for name, value in sent.items() if value is not None
    }


def host_name(obj: object) -> str | None:
    """The name that an entry of the register file has for its host; None where it has an address, or anything else.

    What ends in a number is no name, but an address with a mistake in it.
    """
    sent = _host_of(obj)
    name = sent[1].removeprefix("https://").removeprefix("http://") if sent is not None else ""
    return name if _NAME.fullmatch(name) and host_of(name) is None else None


def with_host(obj: object, address: str) -> object:
    """An entry of the register file that has a name, with an address in its place."""
    sent, name = _host_of(obj), host_name(obj)
    if sent is None or name is None or not isinstance(obj, Mapping):
        return obj
    key, text = sent
    return {**obj, key: text.removesuffix(name) + address}


def _host_of(obj: object) -> tuple[str, str] | None:
    """The key and the text that count, as `read_fields` has it."""
    if not isinstance(obj, Mapping):
        return None
    found = [(key, value) for key, value in obj.items() if str(key).lower() == "host_ip"]
    return found[-1] if found and isinstance(found[-1][1], str) else None


def unregister_url(raw: bytes) -> str:
    """The worker that the body of `POST /unregister` names, by `url` or by `host_ip` and `port`.

    The url comes out as registration spells it. Raises `RegistrationError` (400).
    """
    try:
        document = orjson.loads(raw)
        fields = read_fields(document if isinstance(document, dict) else {})
    except (orjson.JSONDecodeError, FieldError) as error:
        raise RegistrationError(400, f"Invalid JSON format: {error}") from error
    sent = document.get("url") if isinstance(document, dict) else None
    url = _worker_url(sent if isinstance(sent, str) else f"{fields.host_ip}:{fields.port}")
    if url is None:
        raise RegistrationError(
            400,
            'accepted: {"url": "http://IP:PORT"} or {"host_ip": "IP", "port": PORT}, with a usable IP and port',
        )
    return url


def _worker_url(sent: str) -> str | None:
    parts = _URL.fullmatch(sent)
    host, port = (host_of(parts[2]), port_of(parts[3])) if parts else (None, None)
    return f"{parts[1] or 'http'}://{host}:{port}" if parts and host and port else None


def _listed(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)


def _undecodable(what: str) -> UndecodableError:
    return UndecodableError(400, f"Invalid InstanceInfo JSON format: {what}")
