"""How much the router takes on: so many requests, so many bytes of bodies. More must wait in order, or is turned away.

Of connections so many may have a request; the few more that are accepted are there to be told so, and end with that.

Engines bound what they run and refuse the rest, but a router without bounds of its own would hold, for a fleet that is
full, ever more connections, bodies and log lines, and in the end serve nobody. Who is turned away is told at once,
before its body is read, that it may come again.

Waiting is off by default (`server.queue-timeout-secs` is 0): clients and load balancers know better what to do with a
second than the router does. Where it is on, nobody overtakes, nobody waits longer than that, and a waiting request
holds its connection and nothing else, as its body is still the client's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from fd_router.edge.body import MIB
from fd_router.errors import DRAINING, CrowdedError, DrainingError, OverloadedError
from fd_router.observe.logs import messages
from fd_router.runtime.patience import is_late

if TYPE_CHECKING:
    from fd_router.config import ServerConfig
    from fd_router.observe.logs import Log


class Overload:
    """The gate of inference requests. Lives in one event loop."""

    def __init__(self, server: ServerConfig, log: Log, *, connections: int) -> None:
        """So many `connections` may have a request, one that waits too."""
        self._connections = connections
        self._log = log
        self._queue: deque[tuple[float, asyncio.Future[None]]] = deque()
        """When each may wait no longer, in order of arrival."""
        self._timer: asyncio.TimerHandle | None = None
        self.in_flight = 0
        """Requests that are being served."""
        self.waiting = 0
        self.body_bytes = 0
        """Bytes of bodies of requests that are being served."""
        self._draining = False
        self.reconfigure(server)

    def reconfigure(self, server: ServerConfig) -> None:
        """Go by other limits. Who waits has any room that there is now, and waits on for no longer than others will."""
        self._limit = server.max_in_flight
        self._queue_secs = server.queue_timeout_secs
        self._bytes_limit = server.max_body_memory_mb * MIB
        self._let_in()
        if self._queue:
            latest = asyncio.get_running_loop().time() + self._queue_secs
            self._queue = deque((min(until, latest), waiter) for until, waiter in self._queue)
            self._disarm()
            self._arm()

    def drain(self) -> None:
        """The router is about to end: take no more, and send away who waits."""
        self._draining = True
        while self._queue:
            _, waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_exception(DrainingError(DRAINING))

    async def enter(self) -> None:
        """Take a request on, once there is room; `leave` must follow. Raises `OverloadedError`, `DrainingError`."""
        if self._draining:
            raise DrainingError(DRAINING)
        if self.in_flight + self.waiting >= self._connections:
            raise self._refused(
                f"{self._connections} client connections with a request (server.max-connections, ulimit -n)",
                CrowdedError,
            )
        if not self._limit or (self.in_flight < self._limit and not self.waiting):
            self.in_flight += 1
        elif not self._queue_secs:
            raise self._full("")
        else:
            await self._wait()

    def leave(self) -> None:
        """A request is over; whoever has waited longest takes its place."""
        self.in_flight -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._queue and (self.in_flight < self._limit or not self._limit):
            _, waiter = self._queue.popleft()
            if not waiter.done():
                self.in_flight += 1
                waiter.set_result(None)

    def take(self, size: int, held: int = 0) -> None:
        """Account for bytes of a body, of which so many are `held`; `give_back` must follow.

        Raises `OverloadedError` where there is no room. A body that is alone always has room: how long one may be is
        another limit.
        """
        alone = self.body_bytes == held
        if self._bytes_limit and not alone and self.body_bytes + size > self._bytes_limit:
            raise self._refused(f"{self._bytes_limit // MIB} MiB of bodies (server.max-body-memory-mb)")
        self.body_bytes += size

    def give_back(self, size: int) -> None:
        """The bytes are not held any more."""
        self.body_bytes -= size

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._queue.append((loop.time() + self._queue_secs, waiter))
        self._arm()
        self.waiting += 1
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.leave()  # there was room in the same moment
            raise
        finally:
            self.waiting -= 1

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is None and self._queue:
            loop = asyncio.get_running_loop()
            due = self._queue[0][0]
            self._timer = loop.call_at(due, self._expire, due)

    def _expire(self, due: float) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        if is_late(now - due, self._queue_secs):
            # We were stopped: everybody gets a fresh period, in the same order.
            again = now + self._queue_secs
            self._queue = deque((max(until, again), waiter) for until, waiter in self._queue)
        while self._queue and self._queue[0][0] <= now:
            _, waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_exception(self._full(f", for {self._queue_secs:g} s (server.queue-timeout-secs)"))
        self._arm()

    def _full(self, waited: str) -> OverloadedError:
        return self._refused(f"{self._limit} requests in flight (server.max-in-flight){waited}")

    def _refused(self, limit: str, error: type[OverloadedError] = OverloadedError) -> OverloadedError:
        if self._log.lasting.met(f"the limit of {limit}", events=True):
            self._log.warn(messages.limit_reached(limit))
        return error(f"router is at its limit of {limit}")
