"""The listener for clients: granian's server, on the socket that the supervisor opened.

granian reads certificates once, when it begins to serve, and hides how it ends. So the worker gives it a server that
can begin anew: the next one accepts on the same socket with the files as they are then, and the one before serves on
whom it has until they are done. No connection is refused in between, as the socket stays.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from granian import _signals
from granian._granian import ASGIWorker, WorkerSignal
from granian.server import mp

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable


class Listener:
    """One listener of one process, from `take_over` until all that `close` ends is over."""

    def __init__(self) -> None:
        self._begin: Callable[[WorkerSignal], object] = lambda _: None
        self._loop: AbstractEventLoop | None = None
        self._present: WorkerSignal | None = None
        self._serving = 0
        """Servers with connections: the present one and some before it."""
        self._on_end: list[Callable[[], object]] = []

    def take_over(self) -> None:
        """Have granian serve by this. It asks for both by these names when the worker starts.

        What it takes for the signal that ends it is told of the end of the last server.
        """
        _signals.set_loop_signals = lambda _loop: self
        mp.ASGIWorker = partial(_Server, self)  # type: ignore[assignment, attr-defined]

    def add_cb(self, on_end: Callable[[], object]) -> None:
        """Call `on_end`, in any thread, once nothing is served any more. granian's name."""
        self._on_end.append(on_end)

    def begin(self, arguments: tuple[Any, ...], method: str, scheduler: Any, loop: AbstractEventLoop) -> None:
        """Serve, with granian's `arguments` for a server and its name of the way of running it."""

        def begin(signal: WorkerSignal) -> None:
            getattr(ASGIWorker(*arguments), method)(scheduler, loop, signal)

        self._begin, self._loop = begin, loop
        self._next()

    def renew(self) -> None:
        """Read the files of certificates anew: who connects from now on is shown them, and others are answered.

        Raises what granian does for files that it cannot use; then all stays as it is.
        """
        before = self._present
        self._next()
        if before is not None:
            before.set()

    def close(self) -> None:
        """Accept no more, and end when all is answered. Idempotent."""
        if self._present is not None:
            self._present.set()

    def _next(self) -> None:
        signal = WorkerSignal()
        signal.add_cb(self._ended)
        self._begin(signal)
        self._present = signal
        self._serving += 1

    def _ended(self) -> None:
        """A server is over. Called in a thread of granian's."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._count_ended)

    def _count_ended(self) -> None:
        self._serving -= 1
        if not self._serving:
            for on_end in self._on_end:
                on_end()


class _Server:
    """What granian takes for its own server: made with the same arguments, and run by methods of the same names."""

    def __init__(self, listener: Listener, *arguments: Any) -> None:
        self._listener = listener
        self._arguments = arguments

    def __getattr__(self, method: str) -> Callable[..., None]:
        def serve(scheduler: Any, loop: AbstractEventLoop, _signal: object) -> None:
            self._listener.begin(self._arguments, method, scheduler, loop)

        return serve
