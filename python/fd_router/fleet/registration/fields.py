"""First step of a registration: from JSON or YAML values to fields of one type each.

The coercions are those of the Go router's decoder, quirks included: engines depend on them. Ports may be numbers or
text, and null is the port 0; roles may be names or numbers, and null is mixed; in lists 1.0 counts as 1, elsewhere
not. Keys are taken in any case, unknown ones are ignored, the last of equal ones wins. `cache_tokens`, `version` and
`models` and `endpoints` are fields of our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from fd_router.types import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


VERSION_LENGTH = 64
"""Characters of a version that are kept."""


class FieldError(ValueError):
    """A value of a type that the field does not take; `str()` completes `Invalid InstanceInfo JSON format: `."""


@dataclass(slots=True)
class Fields:
    """An instance as sent, not checked yet. Empty text: not sent. Lists: None where none was sent."""

    role: str = ""
    host_ip: str = ""
    port: str = ""
    connector_port: str = ""
    engine_worker_queue_port: str = ""
    transfer_protocol: tuple[str, ...] | None = None
    rdma_ports: tuple[str, ...] | None = None
    device_ids: tuple[str, ...] | None = None
    metrics_port: str = ""
    tp_size: int = 0
    cache_tokens: int | None = None
    version: str = ""
    models: tuple[str, ...] | None = None
    endpoints: tuple[str, ...] | None = None


def read_fields(values: Mapping[Any, object]) -> Fields:
    """Take the known keys of `values`, in their order. Raises `FieldError` at the first that does not fit."""
    fields = Fields()
    for key, value in values.items():
        name = str(key).lower()
        if name in _READERS:
            setattr(fields, name, _READERS[name](name, value))
    return fields


def _role(name: str, value: object) -> str:
    if value is None:
        return ROLES[0]
    if _is_int(value):
        if value not in range(len(ROLES)):
            raise FieldError(f"invalid role integer: {value}")
        return ROLES[value]
    if isinstance(value, str):
        return value
    raise _refused(name, value, "name or number of a role")


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise _refused(name, value, "string")


def _port(name: str, value: object) -> str:
    if value is None:
        return "0"
    if _is_int(value):
        return str(value)
    if isinstance(value, str):
        return value
    raise _refused(name, value, "integer or string")


def _texts(name: str, value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise _refused(name, value, "list of strings")
    return tuple(_text(f"{name}[{index}]", element) for index, element in enumerate(value))


def _names(name: str, value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(element, str) and element for element in value):
        raise _refused(name, value, "list of names")
    return tuple(dict.fromkeys(value)) or None


def _numbers(name: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _refused(name, value, "list of integers or strings")
    return tuple(_element(index, element) for index, element in enumerate(value))


def _element(index: int, value: object) -> str:
    if isinstance(value, str):
        return value
    if _is_int(value):
        return str(value)
    if isinstance(value, float):
        if not value.is_integer():
            raise FieldError(f"element {index}: {value} not integer")
        return str(int(value))
    raise FieldError(f"element {index}: type {_GO_TYPES.get(type(value), type(value).__name__)} unsupported")


def _count(name: str, value: object) -> int:
    if value is None:
        return 0
    if _is_int(value):
        return value
    raise _refused(name, value, "integer")


def _optional_count(name: str, value: object) -> int | None:
    return None if value is None else _count(name, value)


def _version(_name: str, value: object) -> str:
    """Of any kind: a field that other routers do not read is no reason to refuse an engine."""
    return str(value)[:VERSION_LENGTH] if isinstance(value, str | int | float) else ""


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


_READERS: dict[str, Callable[[str, object], Any]] = {
    "role": _role,
    "host_ip": _text,
    "port": _port,
    "connector_port": _port,
    "engine_worker_queue_port": _port,
    "transfer_protocol": _texts,
    "rdma_ports": _numbers,
    "device_ids": _numbers,
    "metrics_port": _port,
    "tp_size": _count,
    "cache_tokens": _optional_count,
    "version": _version,
    "models": _names,
    "endpoints": _texts,
}

FIELDS = tuple(_READERS)
"""What a registration may say."""

_GO_TYPES = {type(None): "<nil>", bool: "bool", dict: "map[string]interface {}", list: "[]interface {}"}
_JSON_TYPES = {
    type(None): "null",
    bool: "boolean",
    float: "number",
    int: "integer",
    str: "string",
    list: "list",
}


def _refused(name: str, value: object, accepted: str) -> FieldError:
    found = _JSON_TYPES.get(type(value), "object")
    number = f" {value}" if isinstance(value, float) else ""
    return FieldError(f"{name}: found {found}{number}, accepted: {accepted}")
