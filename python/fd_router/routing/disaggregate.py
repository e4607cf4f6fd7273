"""What prefill and decode are told of each other: the `disaggregate_info` of a PD request."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from fd_router.types import Instance


@lru_cache(maxsize=4096)
def encoded_info(prefill: Instance, decode: Instance) -> bytes:
    """`disaggregate_info` as JSON. Kept: the same pairs serve again and again."""
    return orjson.dumps(disaggregate_info(prefill, decode))


def disaggregate_info(prefill: Instance, decode: Instance) -> dict[str, object]:
    """The eight keys that both legs carry, as the Go router builds them.

    Connector ports are numbers, 0 where none is known. Addresses are IP literals; IPv6 stands without brackets,
    as Go's `url.Hostname()` yields it: engines open sockets to them, brackets belong to urls.
    """
    return {
        "prefill_ip": _address(prefill),
        "decode_ip": _address(decode),
        "prefill_connector_port": _number(prefill.connector_port),
        "decode_connector_port": _number(decode.connector_port),
        "decode_device_ids": _listed(decode.device_ids),
        "decode_rdma_ports": _listed(decode.rdma_ports),
        "transfer_protocol": "ipc" if _share_memory(prefill, decode) else "rdma",
        "decode_tp_size": tp_size(decode),
    }


def tp_size(instance: Instance) -> int:
    """Tensor parallel size: as registered, else the number of devices, else 1."""
    return instance.tp_size if instance.tp_size > 0 else len(instance.device_ids or ()) or 1


def _share_memory(prefill: Instance, decode: Instance) -> bool:
    """Both speak `ipc` on one host, and each decode rank finds its whole cache in one place.

    Anything else is `rdma`, whether or not the two say that they speak it: upstream assumes it, so do engines.
    """
    both_ipc = all("ipc" in (instance.transfer_protocol or ()) for instance in (prefill, decode))
    fits = tp_size(decode) in (tp_size(prefill), 1)
    return both_ipc and prefill.host == decode.host and fits


def _address(instance: Instance) -> str:
    return instance.host.removeprefix("[").removesuffix("]")


def _number(port: str) -> int:
    return int(port) if len(port) <= 5 and port.isascii() and port.isdecimal() else 0


def _listed(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)
