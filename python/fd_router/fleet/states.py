"""The state of each worker in one word, since when, and why: what probes, requests and orders say, taken together.

| state | when |
|---|---|
| `up` | it is chosen |
| `unready` | it says *not now* and is passed over; or the register file names it and it has not come up yet |
| `probation` | its probes fail, or did lately |
| `ejected` | its requests fail, or an order says so |
| `draining` | an order says so, and requests are under way |
| `drained` | an order says so, and none is |

Orders go before probes, and probes before requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router.fleet.conduct import Conduct
    from fd_router.fleet.last_probes import LastProbes
    from fd_router.fleet.membership import Membership
    from fd_router.fleet.orders import Order, Orders

State: TypeAlias = Literal["up", "unready", "probation", "ejected", "draining", "drained"]
STATES: tuple[State, ...] = ("up", "unready", "probation", "ejected", "draining", "drained")


class States:
    """States by url. To be told of every change; what it knows of a worker goes with the worker."""

    def __init__(
        self,
        members: Membership,
        conduct: Conduct,
        orders: Orders,
        probes: LastProbes,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """`wall` gives seconds since the epoch."""
        self._members = members
        self._conduct = conduct
        self._orders = orders
        self._probes = probes
        self._clock = clock
        self._wall = wall
        self._since: dict[str, tuple[State, float]] = {}
        self.on_gone: Callable[[str], object] = lambda _: None
        """Called with the url of a worker of which nothing is known any more."""

    def note(self, url: str) -> None:
        """Something has changed for a worker."""
        state = self._of(url)
        if state is None:
            self._since.pop(url, None)
            self._probes.forget(url)
            self.on_gone(url)
        elif url not in self._since or self._since[url][0] != state:
            self._since[url] = (state, self._wall())

    def all(self) -> list[tuple[str, State, float]]:
        """(url, state, since when in seconds since the epoch) of everybody, by url."""
        return sorted((url, state, since) for url, (state, since) in self._since.items())

    def why(self, url: str, state: State, running: int) -> str:
        """What an operator wants to know of a state; `running` are the requests under way."""
        order = self._orders.of(url)
        if order is not None:
            return self._ordered(url, order, state, running)
        if state in {"ejected", "unready"} and (worker := self._conduct.of(url)) is not None:
            left = worker.until - self._clock()
            more = f"for {left:.1f} s more" if left > 0 else "and on trial"
            word = "out" if state == "ejected" else "passed over"
            return f"{worker.why}; {word} {more}"
        trouble = self._trouble(url)
        if state == "unready":
            return f"named by the register file, and not up yet: {trouble or 'not probed yet'}"
        health = self._members.health(url)
        if state == "probation" and health is not None:
            held = health.held(self._clock())
            return trouble or (f"waits {held:.1f} s more for coming and going" if held else "was lost")
        return "answers its probes" if self._probes.of(url) else "passed the probes of its registration"

    def _of(self, url: str) -> State | None:
        order = self._orders.of(url)
        if order is not None and order.kind == "eject":
            return "ejected"
        if order is not None:
            return "drained" if order.drained else "draining"
        health = self._members.health(url)
        if health is None or health.serving:
            return None if health is None else self._by_conduct(url)
        return "probation" if health.ever_served else "unready"

    def _by_conduct(self, url: str) -> State:
        worker = self._conduct.of(url)
        if worker is not None and worker.out:
            return "ejected"
        return "unready" if worker is not None and worker.standing == "passed_over" else "up"

    def _ordered(self, url: str, order: Order, state: State, running: int) -> str:
        if order.removed is not None:
            return "by order, and removed; it may register again a minute after its last registration"
        health = self._members.health(url)
        gone = health is not None and not health.serving
        more = f"; its probes fail: {self._trouble(url) or 'it was lost'}" if gone else ""
        if state == "draining":
            last = ", then it is removed" if order.remove else ""
            return f"by order, {running} request{'s' * (running != 1)} under way{last}{more}"
        return f"by order{more}"

    def _trouble(self, url: str) -> str | None:
        last = self._probes.of(url)
        return last[1].trouble if last is not None else None
