"""What operators ordered of workers: no new work, until they say otherwise.

| order | what it does | ended by |
|---|---|---|
| drain | no new work; what is under way goes on to its end, then the worker is drained | undrain |
| drain with `remove` | the same, and once it is drained the worker is unregistered | undrain, or its silence |
| eject | no new work, as the worker is not to be trusted | readmit |

Neither heartbeats, nor probes, nor the loss and the return of the worker undo an order, and an ordered worker is never
forgotten. One that was removed and goes on registering is not taken in again, until it has not registered for
`REMOVED_SECS`: an engine that is about to be ended repeats its registration to the last.

There are never more orders than `manager.max-workers`, as each is about a worker that is known; of those that are
removed the first goes for another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from fd_router.errors import OrderConflictError, RegistrationError, UnknownWorkerError
from fd_router.fleet.registration import instance_from_mapping, to_body
from fd_router.observe.logs import messages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fd_router._core import Scheduler
    from fd_router.fleet.conduct import Conduct
    from fd_router.fleet.membership import Membership
    from fd_router.observe.logs import Log
    from fd_router.types import Instance

Kind: TypeAlias = Literal["drain", "eject"]

ROUND_SECS = 0.5
"""Between two looks at whether a worker is drained."""
REMOVED_SECS = 60.0
"""Without a registration, after which a worker that was removed may come in again; engines register every 5 s."""


@dataclass(slots=True)
class Order:
    """One worker's order."""

    kind: Kind
    given: float
    """Seconds since the epoch."""
    since: float
    """When it was taken up here, by the monotonic clock."""
    remove: bool = False
    drained: bool = False
    """Whether nothing is under way any more."""
    removed: Instance | None = None
    """What the worker said of itself, once it is unregistered."""
    heard: float = 0.0
    """When that happened or it registered again, here or with another replica, by the monotonic clock."""
    heard_here: float = 0.0
    """The same, here alone."""


class Orders:
    """The orders by url of the worker."""

    def __init__(
        self,
        members: Membership,
        conduct: Conduct,
        scheduler: Scheduler,
        log: Log,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        limit: int,
    ) -> None:
        """`wall` gives seconds since the epoch; `limit` is how many workers may be known."""
        self._members = members
        self._registry = members.registry
        self._conduct = conduct
        self._scheduler = scheduler
        self._log = log
        self._clock = clock
        self._wall = wall
        self.reconfigure(limit)
        self._orders: dict[str, Order] = {}
        self.on_change: Callable[[str], object] = lambda _: None
        """Called with the url of a worker whose order is another, or is carried out."""
        self.elsewhere: Callable[[], Mapping[str, int]] = dict
        """Requests that other replicas have under way, by worker: it is drained when they have none either."""
        self.hearsay_secs: Callable[[], float] = lambda: 0.0
        """For how long after an order others may send its worker requests of which nothing was heard."""
        self.shared: Callable[[str], bool] = lambda _: False
        """Whether other replicas have an order as well, which is then not ended for want of the worker."""

    def reconfigure(self, limit: int) -> None:
        """Keep orders of so many workers."""
        self._limit = limit

    def of(self, url: str) -> Order | None:
        """What is ordered of a worker."""
        return self._orders.get(url)

    def urls(self) -> list[str]:
        """The workers of which something is ordered."""
        return list(self._orders)

    # ---- what operators say; each raises `UnknownWorkerError` for a worker that is not known

    def drain(self, url: str, *, remove: bool = False) -> None:
        """Give the worker no new work; the same again changes `remove` alone."""
        self._known(url)
        order = self._orders.get(url)
        if order is None or order.kind != "drain":
            order = self._give(url, "drain")
        if order.remove != remove:
            order.remove = remove
            self.on_change(url)
        self._look(url, order, self._running())

    def eject(self, url: str) -> None:
        """Give the worker no new work, as it is not to be trusted. Raises `OrderConflictError` for a drained one."""
        self._known(url)
        order = self._orders.get(url)
        if order is not None and order.kind == "drain":
            raise OrderConflictError(f"{url} is drained already: it gets no work")
        if order is None:
            self._give(url, "eject")

    def undrain(self, url: str) -> None:
        """The worker may have work again. Raises `OrderConflictError` for one that is ejected by order."""
        order = self._orders.get(url)
        if order is None:
            self._known(url)
        elif order.kind == "eject":
            raise OrderConflictError(f"{url} is ejected by order, not drained: POST /workers/readmit")
        else:
            self._end(url, order)

    def readmit(self, url: str) -> None:
        """The worker may have work again, whatever its requests and its comings and goings said.

        Raises `OrderConflictError` for one that is drained.
        """
        order = self._orders.get(url)
        if order is not None and order.kind == "drain":
            raise OrderConflictError(f"{url} is drained, not ejected: POST /workers/undrain")
        self._known(url)
        if order is not None:
            self._end(url, order)
        self._members.pardon(url, self._clock())
        self.on_change(url)

    # ---- what becomes of it

    def refuses(self, url: str, *, own: bool = True) -> bool:
        """A worker registers, or else is named by the register file: whether it is not to be taken in, as removed.

        What the file says is no sign of life of an engine.
        """
        order = self._orders.get(url)
        if order is None or order.removed is None:
            return False
        if own:
            order.heard = order.heard_here = self._clock()
        return True

    def left(self, url: str) -> None:
        """A worker was unregistered by other means: what was ordered of it is over."""
        if (order := self._orders.get(url)) is not None and order.removed is None:
            self._end(url, order)

    def dropped(self, url: str, to: str | None) -> None:
        """The register file does not name a worker any more: what was ordered of it is over, or moves with it."""
        order = self._orders.get(url)
        if order is None or order.removed is not None:
            return
        self._end(url, order)
        if to is not None and to not in self._orders:
            self._give(to, order.kind).remove = order.remove

    async def round(self, _late: float) -> None:
        """Look at who is drained now, and at who may be forgotten."""
        busy = any(order.kind == "drain" and not order.drained for order in self._orders.values())
        running = self._running() if busy else {}
        for url, order in list(self._orders.items()):
            if order.removed is not None:
                if self._clock() - order.heard >= REMOVED_SECS:
                    self._end(url, order)
            elif order.kind == "drain":
                self._look(url, order, running)

    def _running(self) -> dict[str, int]:
        """Requests under way by worker, here and elsewhere."""
        found = dict(self.elsewhere())
        for url, _, running, _ in self._scheduler.loads():
            found[url] = found.get(url, 0) + running
        return found

    def _look(self, url: str, order: Order, running: dict[str, int]) -> None:
        if (order.drained and not order.remove) or running.get(url):
            return
        if not order.drained and self._clock() - order.since < self.hearsay_secs():
            return
        instance = self._members.get(url)
        if instance is None:
            return
        if not order.drained:
            order.drained = True
            self._log.info(messages.drained(instance.role, url))
        if order.remove:
            order.removed = instance
            order.heard = order.heard_here = self._clock()
            self._members.leave(url)
        self.on_change(url)

    def _known(self, url: str) -> None:
        if not self._members.knows(url):
            raise UnknownWorkerError(f"{url} is not registered")

    def _give(self, url: str, kind: Kind) -> Order:
        if len(self._orders) >= self._limit:
            gone = next((each for each, order in self._orders.items() if order.removed is not None), None)
            if gone is not None:
                self._end(gone, self._orders[gone])
        order = self._orders[url] = Order(kind, self._wall(), self._clock())
        self._registry.hold(url)
        self._conduct.left(url)
        self._log.info(messages.ordered(url, kind, self._running().get(url, 0)))
        self.on_change(url)
        return order

    def _end(self, url: str, order: Order) -> None:
        del self._orders[url]
        self._registry.let_go(url)
        self._conduct.joined(url)
        if order.removed is None:
            self._log.info(messages.order_ended(url, order.kind))
        self.on_change(url)

    # ---- over a restart, and between replicas

    def kept(self) -> dict[str, dict[str, Any]]:
        """What is to be known again by the next process, for `restore`."""
        return {
            url: {
                "order": order.kind,
                "given": order.given,
                "remove": order.remove,
                "removed": to_body(order.removed) if order.removed is not None else None,
            }
            for url, order in self._orders.items()
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Take over what a process before this one kept, before its workers come in; what is no order is left out."""
        for url, order in list(kept.items())[: self._limit]:
            match order:
                case {
                    "order": "drain" | "eject" as kind,
                    "given": float() | int() as given,
                    "remove": bool() as remove,
                    "removed": removed,
                }:
                    self._restore(url, Order(kind, float(given), self._clock(), remove), removed)
                case _:
                    continue

    def _restore(self, url: str, order: Order, removed: object) -> None:
        if removed is not None:
            try:
                order.removed = instance_from_mapping(removed, splitwise=self._members.splitwise)
            except RegistrationError:
                return
            order.drained, order.heard, order.heard_here = True, self._clock(), self._clock()
        self._orders[url] = order
        self._registry.hold(url)
        self.on_change(url)

    def take(self, url: str, kept: Mapping[str, Any] | None) -> None:
        """Another replica has this order, as `kept` says it, or none any more; what is no order is left out."""
        if kept is None:
            if (order := self._orders.get(url)) is not None:
                self._end(url, order)
            return
        known = url in self._orders
        if not known and len(self._orders) >= self._limit:
            return
        self.restore({url: kept})
        order = self._orders.get(url)
        if order is None:
            return
        if order.removed is not None:
            self._members.leave(url)
        elif not known:
            self._conduct.left(url)
            self._log.info(messages.ordered(url, order.kind, self._running().get(url, 0)))

    def heard(self, url: str) -> None:
        """A worker that was removed registered with another replica lately."""
        if (order := self._orders.get(url)) is not None:
            order.heard = self._clock()

    def settle(self) -> None:
        """Everybody who was kept is known again: of others nothing is ordered."""
        for url, order in list(self._orders.items()):
            if order.removed is None and not self._members.knows(url) and not self.shared(url):
                self._end(url, order)
