"""A router as one of several: keeps up the connections to the server, and goes on alone while there are none.

| state | when |
|---|---|
| `sharing` | connected, and the server takes what is written |
| `alone` | it is down, silent for a second, full, or refuses |

It is tried again after 0.1 s doubling to 2 s, each time less up to a half by chance.

Of three connections one is the board's; by the other two loads and prefixes are told and heard (`exchange`). When one
of them fails all three begin anew.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fd_router.observe.logs import messages
from fd_router.state.replica.board import Board
from fd_router.state.replica.exchange import Exchange, Shared
from fd_router.state.replica.line import Line
from fd_router.state.replica.loads import OtherLoads, OwnLoads
from fd_router.state.replica.orders import KIND as ORDER
from fd_router.state.replica.orders import SharedOrders
from fd_router.state.replica.prefixes import Prefixes
from fd_router.state.replica.wire import Wire, WireError, tls_context
from fd_router.state.replica.workers import KIND as WORKER
from fd_router.state.replica.workers import SharedWorkers

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from fd_router._core import Scheduler
    from fd_router.config.address import Address
    from fd_router.fleet.admission import Admission
    from fd_router.fleet.membership import Membership
    from fd_router.fleet.orders import Orders
    from fd_router.observe.logs import Log
    from fd_router.types import Instance

ROUND_SECS = 2.0
"""Between two looks at the board, where nobody says that it has changed."""
CALM_SECS = 0.1
"""Between two looks at the board at least."""
RESTS = 4.0
"""A round that took longer is followed by a rest of so many times that: each change has the whole board read, which for
4,096 workers takes a tenth of a second of CPU, and they come all at once."""
LONGEST_REST_SECS = 1.0
HEARSAY_SECS = 2.0
"""After an order, until all have heard of it, and have told what they sent before they did."""
WATCH_SECS = 0.5
"""Between two looks at who is silent."""
FIRST_WAIT_SECS = 0.1
LONGEST_WAIT_SECS = 2.0
CANCEL_SECS = 0.05
"""Between two tries to end a task."""
PRESENT_SECS = 10
"""How long the server remembers a replica that has ended."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What of the router is shared."""

    scheduler: Scheduler
    members: Membership
    admission: Admission
    orders: Orders
    log: Log
    clock: Callable[[], float]
    wall: Callable[[], float]


class Replica:
    """Shares what others are to know, and takes what they say. To be started once, in the event loop."""

    watch_secs = WATCH_SECS
    """Between two calls of `watch`."""

    def __init__(self, address: Address, cluster: str, name: str, parts: Parts, *, stream_bytes: int) -> None:
        """`name` is this router's own, another one for each process."""
        # The braces keep all keys on one node, where the server is a cluster of its own.
        prefix = f"fd-router:{{{cluster}}}:1:"
        self._address, self._cluster, self._name = address, cluster, name
        self._log, self._clock, self._wall = parts.log, parts.clock, parts.wall
        self._presence = f"{prefix}replica:{name}"
        self._board = Board(name, f"{prefix}entry:", parts.clock)
        self._workers = SharedWorkers(self._board, parts.members, parts.admission, parts.log)
        self._orders = SharedOrders(self._board, parts.orders, parts.members, parts.clock)
        self._others = OtherLoads(parts.scheduler, parts.clock)
        self._prefixes = Prefixes(name, f"{prefix}prefixes", parts.scheduler, stream_bytes)
        self._news = asyncio.Event()
        own = OwnLoads(parts.scheduler, parts.clock)
        shared = Shared(own, self._others, self._prefixes, board_changed=self._news.set)
        self._exchange = Exchange(name, f"{prefix}loads", shared, parts.clock)
        parts.orders.elsewhere = self._others.running
        parts.orders.hearsay_secs = lambda: HEARSAY_SECS if self.others() else 0.0
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.sharing = False
        """Whether it is not alone."""
        self.losses = 0
        """How often the server was lost."""
        self._why: str | None = "not connected yet"
        self._told_alone = False
        self._since = parts.wall()
        self._ever = False

    # ---- what happens here

    def registered(self, instance: Instance) -> None:
        """A worker was let in that registered here, or that the register file names."""
        self._workers.registered(instance)
        self._hurry()

    def unregistered(self, url: str) -> None:
        """A worker left on request."""
        self._workers.unregistered(url)
        self._hurry()

    def dropped(self, url: str) -> None:
        """The register file does not name a worker any more, and it left."""
        self._workers.dropped(url)
        self._hurry()

    def ordered(self, url: str) -> None:
        """The order of a worker is another one; before the start, one that a process before this one had."""
        if self._task is not None:
            self._orders.changed(url)
            self._workers.look_again([url])
            self._hurry()

    def _hurry(self) -> None:
        if self._board.waiting:
            self._news.set()

    # ---- what is seen of it

    def status(self) -> dict[str, Any]:
        """For `/status`."""
        return {
            "name": self._cluster,
            "replica": self._name,
            "state": "sharing" if self.sharing else "alone",
            "since": round(self._since, 3),
            "why": self._why,
            "others": [{"name": name, "heard": round(ago, 1)} for name, ago in self._others.replicas()],
        }

    def others(self) -> int:
        """Replicas that were heard lately."""
        return len(self._others.replicas())

    def prefixes(self) -> dict[str, int]:
        """Records of prefixes by what became of them."""
        found = self._prefixes
        return {"applied": found.applied, "unknown": found.unknown, "dropped": found.dropped}

    def garbage(self) -> dict[str, int]:
        """What nobody of this version can have written, by where it was found."""
        return {
            "board": self._board.garbage,
            "loads": self._others.garbage,
            "prefixes": self._prefixes.garbage,
        }

    # ---- its life

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._live())

    async def close(self) -> None:
        """End, and leave what is on the server to its time to live."""
        self._stopping = True
        if self._task is not None:
            await _end([self._task])
        await self._workers.close()

    async def watch(self, _late: float) -> None:
        """Forget who is silent, whether the server is there or not."""
        self._others.expire()

    async def _live(self) -> None:
        wait = FIRST_WAIT_SECS
        while True:
            begun = self._clock()
            try:
                await self._session()
            except WireError as error:
                self._alone(str(error))
            except asyncio.CancelledError:
                # A task that somebody else cancelled arrives here as our own end would.
                if self._stopping:
                    raise
                self._alone("a task was cancelled")
            except Exception as error:
                self._log.error(messages.panic(error))
                self._alone("see the log")
            if self._clock() - begun > 2 * LONGEST_WAIT_SECS:
                wait = FIRST_WAIT_SECS
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(2 * wait, LONGEST_WAIT_SECS)

    def _alone(self, why: str) -> None:
        if self.sharing:
            self.losses += 1
            self._since = self._wall()
        if not self._told_alone:
            self._log.warn(messages.cluster_alone(self._address, why))
        self._told_alone, self.sharing, self._why = True, False, why

    def _shared(self) -> None:
        self._since = self._wall()
        self.sharing, self._told_alone, self._why = True, False, None
        self._log.info(messages.cluster_shared(self._cluster, self._name, self._address))

    async def _session(self) -> None:
        """From connecting to the first failure. Raises `WireError`, or what it met."""
        async with AsyncExitStack() as stack:
            context = await asyncio.to_thread(tls_context, self._address)
            board, *others = (Wire(self._address, context) for _ in range(3))
            for wire in (board, *others):
                stack.push_async_callback(wire.close)
            await asyncio.gather(*(wire.open() for wire in (board, *others)))
            self._board.forget_server()
            await self._round(board)
            await self._prefixes.check_place(board)
            if self._ever:
                self._prefixes.tell_anew()
            self._ever = True
            tell, hear = (Line(wire, self._clock) for wire in others)
            stack.callback(tell.end)
            stack.callback(hear.end)
            self._exchange.begin(tell, hear, self._workers.at_gate)
            self._shared()
            await _first_failure([self._rounds(board), self._turns()])

    async def _rounds(self, wire: Wire) -> None:
        rest = CALM_SECS
        while True:
            await asyncio.sleep(rest)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), ROUND_SECS)
            begun = self._clock()
            await self._round(wire)
            rest = rest_after(self._clock() - begun)

    async def _round(self, wire: Wire) -> None:
        self._news.clear()
        # A server that is full refuses this, and is found out though nothing else is to be written.
        await wire.do(("SET", self._presence, "1", "EX", PRESENT_SECS))
        found = await self._board.round(wire, self._alive)
        # What is found is taken before anything else can fail. Orders first: a worker that was removed is not let in.
        ordered = _of(ORDER, found.changed)
        self._orders.take(ordered, full=found.full)
        self._workers.look_again(ordered)
        self._workers.take(_of(WORKER, found.changed), full=found.full)
        if found.written:
            self._exchange.say_board()

    def _alive(self, name: str) -> bool:
        if name.startswith(WORKER):
            return self._workers.alive(name.removeprefix(WORKER))
        return name.startswith(ORDER) and self._orders.alive(name.removeprefix(ORDER))

    async def _turns(self) -> None:
        while True:
            secs = self._exchange.turn()
            await asyncio.sleep(secs)


def rest_after(secs: float) -> float:
    """Seconds until the next look at the board, after one that took so long."""
    return min(max(CALM_SECS, RESTS * secs), LONGEST_REST_SECS)


def _of(kind: str, names: list[str]) -> list[str]:
    return [name.removeprefix(kind) for name in names if name.startswith(kind)]


async def _first_failure(jobs: list[Coroutine[Any, Any, None]]) -> None:
    """Run jobs that do not end until one fails, and end the others. Raises what that one raised."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await _end(tasks)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended.

    Once is not enough: `asyncio.wait_for`, which the client waits by, loses a cancellation that comes as its work is
    done (before Python 3.12), and whoever waited then for such a task would wait for ever.
    """
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=CANCEL_SECS)
    await asyncio.gather(*tasks, return_exceptions=True)
