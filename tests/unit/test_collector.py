"""What a request took is given back with its end, whatever end that is, and not when Python's collector comes by.

A router makes few containers that stay, so the collector comes once in many minutes, and what waited for it until then
would look like a leak. The service runs in this process; its clients are messages of ASGI.
"""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from fd_router._core import Exchange, UpstreamError
from fd_router.config import Config, ManagerConfig, ServerConfig
from fd_router.downstream.client import Client
from fd_router.process.in_force import InForce
from fd_router.process.service import Service
from fd_router.routing.attempt import LegError
from fd_router.state.store import MemoryStore
from rig import reply, sse_head
from rig.relaying import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rig import Peer, RawWorker

CHAT = "/v1/chat/completions"
HELD = (Client, Exchange, UpstreamError, LegError)


@dataclass
class Exchanged:
    """A request and what came back; `leave` is the client's."""

    path: str
    body: bytes
    messages: list[dict[str, Any]] = field(default_factory=list)
    leave: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, app: Callable[..., Any]) -> None:
        headers = [(b"host", b"r"), (b"content-length", b"%d" % len(self.body))]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": self.path,
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 1),
        }
        bodies = [{"type": "http.request", "body": self.body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if not bodies:
                await self.leave.wait()
                return {"type": "http.disconnect"}
            return bodies.pop()

        async def send(message: dict[str, Any]) -> None:
            self.messages.append(message)

        await app(scope, receive, send)
        self.leave.set()


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def held() -> list[str]:
    return [repr(each) for each in gc.get_objects() if isinstance(each, HELD)]


def broken_off(peer: Peer) -> None:
    peer.send(sse_head() + b"data: 1\n\n")
    peer.reset()


def silent(peer: Peer) -> None:
    peer.wait_closed()


def started(peer: Peer) -> None:
    peer.send(sse_head() + b"data: 1\n\n")
    peer.wait_closed()


ANSWERS: dict[str, Callable[[Peer], bytes | None]] = {
    "served": lambda _: reply(b"{}"),
    "failed": lambda _: reply(b"{}", 500),
    "refused": lambda _: reply(b"{}", 429),
    "reset": lambda peer: peer.reset(),
    "broken-off": broken_off,
    "left-before": silent,
    "left-in-stream": started,
}

LEFT = {"left-before", "left-in-stream"}
WAITED_FOR = {"mixed": LEFT, "prefill": LEFT | {"failed", "refused", "reset", "broken-off"}, "decode": LEFT}
"""Where the other worker of a pair does not answer before."""


@pytest.mark.parametrize("ends", ANSWERS)
@pytest.mark.parametrize("role", ["mixed", "prefill", "decode"])
@pytest.mark.usefixtures("without_collector")
def test_nothing_waits_for_the_collector(raw_worker: Callable[..., RawWorker], role: str, ends: str) -> None:
    """The worker of `role` ends the request in this way; in a pair the other one is well."""
    worker = raw_worker(ANSWERS[ends])
    other = raw_worker(silent if ends in WAITED_FOR[role] else ANSWERS["served"])
    members = {"mixed": {"mixed": worker}}.get(
        role, {role: worker, "decode" if role == "prefill" else "prefill": other}
    )
    body = b'{"stream": %s, "messages": []}' % (b"true" if "stream" in ends or "off" in ends else b"false")

    async def request(app: Callable[..., Any]) -> None:
        asked = Exchanged(CHAT, body)
        task = asyncio.ensure_future(asked.run(app))
        if ends.startswith("left"):
            await until(lambda: worker.hits)
            await asyncio.sleep(0.3)  # by then the router listens for a client's leaving
            asked.leave.set()
        with suppress(asyncio.CancelledError):
            await task

    async def scene() -> None:
        config = Config(
            ServerConfig(port=1, splitwise=role != "mixed"),
            manager=ManagerConfig(health_check_interval_secs=3600),
        )
        store, memory = MemoryStore(), MemoryStore()
        service = Service(InForce(config, memory), [], lambda: (config, []), store)
        await service.start()
        try:
            for part, member in members.items():
                registration = b'{"role":"%s","host_ip":"127.0.0.1","port":%d}' % (part.encode(), member.port)
                asked = Exchanged("/register", registration)
                await asked.run(service.app)
                assert asked.messages[0]["status"] == 200
            for _ in range(3):
                await request(service.app)
            await until(lambda: worker.hits)  # decode may answer before prefill is asked
            await until(lambda: not service.app.active)
            await until(lambda: held() == [])
        finally:
            await service.stop()
            store.close()
            memory.close()
            gc.unfreeze()

    asyncio.run(asyncio.wait_for(scene(), 30))
