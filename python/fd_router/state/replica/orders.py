"""Orders on the board: what an operator ordered of a worker at one replica holds at all of them.

An order is kept there by every replica that has it and knows the worker. That of a worker that was removed is kept by
those with whom the engine goes on registering, and while it is there it counts as heard everywhere: engines that a load
balancer leads to another replica each time are silent when no replica hears them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fd_router.fleet.membership import Membership
    from fd_router.fleet.orders import Orders
    from fd_router.state.replica.board import Board, Value

KIND = "order "
"""What names of the board begin with."""
HEARD_SECS = 15.0
"""How lately a removed engine must have registered here for its order to be kept on the board by this replica."""


class SharedOrders:
    """Between the board and the orders."""

    def __init__(self, board: Board, orders: Orders, members: Membership, clock: Callable[[], float]) -> None:
        self._board = board
        self._orders = orders
        self._members = members
        self._clock = clock
        orders.shared = lambda url: self._board.value(KIND + url) is not None

    def changed(self, url: str) -> None:
        """The order of a worker is another one, here or as it was taken over."""
        value = self._value(url)
        if self._board.value(KIND + url) != value:
            self._board.say(KIND + url, value)

    def alive(self, url: str) -> bool:
        """Whether this replica keeps the order on the board."""
        order = self._orders.of(url)
        if order is None:
            return False
        if order.removed is None:
            return self._members.knows(url)
        return self._clock() - order.heard_here < HEARD_SECS

    def take(self, urls: Iterable[str], *, full: bool) -> None:
        """Something was said of these; a full reading tells who was heard elsewhere."""
        for url in urls:
            self._orders.take(url, self._board.value(KIND + url))
        for url in self._orders.urls() if full else ():
            name = KIND + url
            if not self._board.knows(name):
                # A process before this one had it, or the server has lost it.
                self._board.say(name, self._value(url))
            elif self._board.value(name) is None:
                self._orders.take(url, None)
            else:
                self._orders.heard(url)

    def _value(self, url: str) -> Value:
        value: Value = orjson.loads(orjson.dumps(self._orders.kept().get(url)))
        return value
