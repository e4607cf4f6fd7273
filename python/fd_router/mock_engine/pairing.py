"""The prefill/decode pair: is `disaggregate_info` meant for this engine, and the hand-over of the KV.

The KV is one line of JSON over TCP to the connector port that the info names. Decode answers nothing before
the line with its request's id is there, so a wrong address, port, protocol or body makes the request fail.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import Any

KEYS = (
    "prefill_ip",
    "decode_ip",
    "prefill_connector_port",
    "decode_connector_port",
    "decode_device_ids",
    "decode_rdma_ports",
    "transfer_protocol",
    "decode_tp_size",
)
MAX_UNCLAIMED = 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """What this engine registered of itself."""

    role: str
    host: str
    connector_port: int
    device_ids: tuple[str, ...]
    rdma_ports: tuple[str, ...]
    transfer_protocol: tuple[str, ...]
    tp_size: int


def mismatch(info: object, own: Identity) -> str | None:
    """Why the info is not for this engine, or None."""
    if not isinstance(info, dict):
        return f"disaggregate_info is missing: a {own.role} engine serves pairs only"
    if set(info) != set(KEYS):
        return f"disaggregate_info has the keys {sorted(info)}; accepted: {sorted(KEYS)}"
    expected: dict[str, Any] = {f"{own.role}_ip": own.host, f"{own.role}_connector_port": own.connector_port}
    if own.role == "decode":
        expected["decode_device_ids"] = list(own.device_ids)
        expected["decode_rdma_ports"] = list(own.rdma_ports)
        expected["decode_tp_size"] = own.tp_size or len(own.device_ids) or 1
    for key, value in expected.items():
        if info[key] != value or type(info[key]) is not type(value):
            return f"disaggregate_info.{key} is {info[key]!r}; this {own.role} engine registered {value!r}"
    protocol = info["transfer_protocol"]
    if protocol not in own.transfer_protocol:
        registered = ", ".join(own.transfer_protocol) or "none"
        return f"disaggregate_info.transfer_protocol is {protocol!r}; this engine registered {registered}"
    return None


@dataclass(frozen=True, slots=True)
class Kv:
    """What stands for the KV of one request."""

    request_id: str
    checksum: str
    cached_tokens: int
    transfer_protocol: str


async def send_kv(host: str, port: int, kv: Kv, timeout: float) -> None:
    """Hand the KV over. Raises `OSError` or `asyncio.TimeoutError`."""

    async def exchange() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(json.dumps(asdict(kv)).encode() + b"\n")
            if await reader.readline() != b"ok\n":
                raise ConnectionError(f"connector {host}:{port} did not take the KV of {kv.request_id}")
        finally:
            writer.close()

    await asyncio.wait_for(exchange(), timeout)


class KvStore:
    """Decode's connector: takes KV, and gives it to the request that waits for it."""

    def __init__(self) -> None:
        self.received = 0
        self._unclaimed: OrderedDict[str, Kv] = OrderedDict()
        self._waiting: dict[str, asyncio.Future[Kv]] = {}

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a prefill engine."""
        try:
            self.put(Kv(**json.loads(await reader.readline())))
            writer.write(b"ok\n")
            await writer.drain()
        except (ValueError, TypeError, OSError):
            writer.write(b"bad KV\n")
        finally:
            writer.close()

    def put(self, kv: Kv) -> None:
        """Take KV; without a request for it, it is kept until many others came after it."""
        self.received += 1
        waiting = self._waiting.pop(kv.request_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(kv)
            return
        self._unclaimed[kv.request_id] = kv
        if len(self._unclaimed) > MAX_UNCLAIMED:
            self._unclaimed.popitem(last=False)

    async def take(self, request_id: str, timeout: float) -> Kv:
        """Wait for a request's KV. Raises `asyncio.TimeoutError`."""
        kv = self._unclaimed.pop(request_id, None)
        if kv is not None:
            return kv
        future: asyncio.Future[Kv] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = future
        try:
            return await asyncio.wait_for(future, timeout)
        finally:
            if self._waiting.get(request_id) is future:
                del self._waiting[request_id]
