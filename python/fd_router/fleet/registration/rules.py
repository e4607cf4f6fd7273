"""Second step of a registration: the checks, in the Go router's order and words, and the `Instance` they yield."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Literal

from fd_router.errors import RegistrationError, printable
from fd_router.types import ROLES, Instance, Role

if TYPE_CHECKING:
    from fd_router.fleet.registration.fields import Fields

PROTOCOLS = ("ipc", "rdma")
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
MAX_ENDPOINTS = 64
"""That a worker may name: the scheduler lists the workers of each."""
_ENDPOINT = re.compile(r"/[!-\"$->@-~]*")
"""A path of a url, without query and fragment."""
_PORT = re.compile(r"\+?0{0,15}([0-9]{1,5})")


def check(fields: Fields, *, splitwise: bool) -> Instance:
    """Apply every rule. Raises `RegistrationError` with status 400 at the first that is broken.

    Ports that pass are kept without leading zeros, so that one worker has one url. Outside PD mode the ports of the
    transfer between engines are kept as sent: engines send what they like there.
    """
    role = _role(fields.role)
    scheme, host = _host(fields.host_ip)
    if not fields.port:
        raise _invalid("port is required")
    port = _port(fields.port, "invalid port")
    # One that only serves endpoints by itself has no part in pairs.
    alone = role == "mixed" and bool(fields.endpoints)
    paired = splitwise and not alone
    connector = fields.connector_port
    queue = fields.engine_worker_queue_port
    if paired:
        connector = connector and str(_port(connector, "invalid connector_port"))
        queue = queue and str(_port(queue, "invalid engine_worker_queue_port"))
    for protocol in fields.transfer_protocol or ():
        if protocol not in PROTOCOLS:
            raise _invalid(f"invalid protocol: {protocol}")
    rdma_ports = fields.rdma_ports
    if paired and rdma_ports:
        rdma_ports = tuple(
            str(_port(sent, f"rdma_ports[{index}] invalid port")) for index, sent in enumerate(rdma_ports)
        )
    metrics_port = _port(fields.metrics_port, "invalid metrics_port") if fields.metrics_port else port
    if fields.cache_tokens is not None and fields.cache_tokens < 1:
        raise _invalid(f"invalid cache_tokens: {fields.cache_tokens}")
    if len(fields.endpoints or ()) > MAX_ENDPOINTS:
        raise _invalid(f"more than {MAX_ENDPOINTS} endpoints")
    for endpoint in fields.endpoints or ():
        if _ENDPOINT.fullmatch(endpoint) is None:
            raise _invalid(f"invalid endpoint: {endpoint}")
    if paired and role == "mixed":
        raise RegistrationError(400, "splitwise mode only supports PREFILL/DECODE instances")
    if not splitwise and role != "mixed":
        raise RegistrationError(400, "only MIXED instances are allowed")
    return Instance(
        role=role,
        host=host,
        port=port,
        scheme=scheme,
        connector_port=connector,
        engine_worker_queue_port=queue,
        transfer_protocol=fields.transfer_protocol,
        rdma_ports=rdma_ports,
        device_ids=fields.device_ids,
        metrics_port=str(metrics_port),
        tp_size=fields.tp_size,
        cache_tokens=fields.cache_tokens,
        version=printable(fields.version),
        models=fields.models,
        endpoints=fields.endpoints,
    )


def host_of(sent: str) -> str | None:
    """An IP literal as it stands in a url: canonical, IPv6 in brackets; None for anything else.

    One machine has one spelling, so that a worker counts once: IPv4 inside of IPv6 is IPv4, and the unspecified
    address, which the kernel takes for this machine when it connects, is loopback.
    """
    bare = sent[1:-1] if sent.startswith("[") and sent.endswith("]") else sent
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return _LOOPBACK.get(bare, bare) if bare == sent else None
    if address.scope_id is not None:
        return None
    plain = str(address.ipv4_mapped or f"[{address.compressed}]")
    return _LOOPBACK.get(plain, plain)


def port_of(sent: str) -> int | None:
    """A port from 1 to 65535 in decimal; None for anything else."""
    digits = _PORT.fullmatch(sent)
    port = int(digits[1]) if digits else 0
    return port if 1 <= port <= 65_535 else None


def _role(sent: str) -> Role:
    if not sent:
        raise _invalid("role is required")
    for role in ROLES:
        if role == sent.lower():
            return role
    raise _invalid(f"invalid role: {sent}")


def _host(sent: str) -> tuple[Literal["http", "https"], str]:
    if not sent:
        raise _invalid("host_ip is required")
    scheme: Literal["http", "https"] = "https" if sent.startswith("https://") else "http"
    host = host_of(sent.removeprefix(f"{scheme}://"))
    if host is None:
        raise _invalid(f"invalid host_ip: {sent}")
    return scheme, host


def _port(sent: str, complaint: str) -> int:
    port = port_of(sent)
    if port is None:
        raise _invalid(f"{complaint}: {sent}")
    return port


def _invalid(what: str) -> RegistrationError:
    # No space after the colon: scripts compare the message with upstream's.
    return RegistrationError(400, f"invalid InstanceInfo format:{what}")
