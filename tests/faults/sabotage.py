"""Makes parts of the router raise, for `test_exceptions.py`.

Python imports a module of the name `sitecustomize` at its start: the test puts this file on the path of the router's
processes under that name. A request says in its prompt where it wants to be let down.
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

from fd_router.fleet import fanout
from fd_router.fleet.registry import Registry
from fd_router.routing import delivery, selection
from fd_router.runtime import periodic

if TYPE_CHECKING:
    from fd_router._core import UpstreamError


class Panic(BaseException):
    """As a panic in Rust arrives in Python: not an `Exception`."""


def break_selection() -> None:
    book = selection.Selector.book

    def sabotaged(self: Any, role: Any, request: Any, *rest: Any, **more: Any) -> Any:
        if "raise at selection" in request.text:
            raise RuntimeError("sabotage")
        if "panic at selection" in request.text:
            raise Panic("sabotage")
        return book(self, role, request, *rest, **more)

    selection.Selector.book = sabotaged  # type: ignore[method-assign]


class Failing:
    """An exchange that fails at its first byte; all else of it is as it was."""

    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exchange, name)

    def forward(self, send: Any, _: Any, *head: Any) -> Any:
        return self._exchange.forward(send, always, *head)


def break_delivery() -> None:
    deliver = delivery.Delivery.deliver

    async def sabotaged(
        self: Any, client: Any, exchange: Any, head: Any, **more: Any
    ) -> UpstreamError | None:
        asked = dict(head.headers).get(b"x-sabotage")
        if asked == b"before":
            raise RuntimeError("sabotage")
        if asked == b"panic":
            raise Panic("sabotage")
        told: Any = Failing(exchange) if asked == b"first" else exchange
        broken = await deliver(self, client, told, head, **more)
        if asked == b"after":
            raise RuntimeError("sabotage")
        return broken

    delivery.Delivery.deliver = sabotaged  # type: ignore[method-assign]


def always(*_: Any, **__: Any) -> Any:
    raise RuntimeError("sabotage")


async def always_soon(*_: Any, **__: Any) -> Any:
    raise RuntimeError("sabotage")


def break_rounds() -> None:
    """Every other round of what runs in the background panics."""
    begin = periodic.Periodic.__init__

    def sabotaged(self: Any, interval: float, action: Any, on_error: Any) -> None:
        rounds = itertools.count()

        async def panicking(late: float) -> None:
            number = next(rounds)
            if number % 2 == 0:
                raise Panic(f"sabotage of {action.__qualname__}, round {number}")
            await action(late)

        begin(self, interval, panicking, on_error)

    periodic.Periodic.__init__ = sabotaged  # type: ignore[method-assign]


if "SABOTAGE_ROUNDS" in os.environ:
    break_rounds()
else:
    break_selection()
    break_delivery()
    fanout.Models.union = always_soon  # type: ignore[method-assign]
    Registry.of_role = always  # type: ignore[method-assign]
