"""Driving the relay of the extension without a router: a loop, a relay, and a receiver for bodies."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from rig.core import relay as new_relay
from rig.wait import LIMIT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fd_router._core import Relay
    from rig.raw_worker import RawWorker

    StartWorker = Callable[..., RawWorker]
    """The fixture `raw_worker`."""

T = TypeVar("T")


def drive(
    body: Callable[[Relay], Awaitable[T]],
    *,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    **limits: Any,
) -> T:
    """Run `body` with a relay that is attached to the loop; whatever the loop complains of fails the test."""
    complaints: list[dict[str, Any]] = []

    async def run() -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: complaints.append(context))
        relay = new_relay(loop, **limits)
        loop.add_reader(relay.fileno(), relay.drain)
        try:
            return await asyncio.wait_for(body(relay), LIMIT)
        finally:
            loop.remove_reader(relay.fileno())
            relay.close()
            assert relay.stats().active == 0

    loop = new_loop()
    try:
        result = loop.run_until_complete(run())
    finally:
        loop.close()
    assert complaints == []
    return result


async def until(what: Callable[[], Any], limit: float = LIMIT) -> Any:
    """Let the loop turn until `what` gives something true, and return that."""
    deadline = asyncio.get_running_loop().time() + limit
    while not (value := what()):
        assert asyncio.get_running_loop().time() < deadline, "not within the limit"
        await asyncio.sleep(0.002)
    return value


class Receiver:
    """An ASGI `send` that keeps what it is given; `gate` closed leaves each call pending."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, message: Any) -> None:
        self.messages.append(message)
        await self.gate.wait()

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.messages)

    @property
    def ended(self) -> bool:
        return bool(self.messages) and not self.messages[-1]["more_body"]
