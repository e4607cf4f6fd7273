"""The supervisor: it starts the worker, another one when that dies, and ends it; and it says so in the log.

It holds no state of requests and serves nothing, so nothing but a signal ends it. A worker that dies again and again is
started again and again, after a pause that grows: registrations are kept, and a fault that passes needs nobody's hand.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from granian.server.mp import MPServer

from fd_router.observe.logs import Log, messages
from fd_router.process import signals
from fd_router.process.entry import START_FAILED

if TYPE_CHECKING:
    from collections.abc import Callable

    from fd_router.process.in_force import InForce

FIRST_PAUSE_SECS = 0.5
LONGEST_PAUSE_SECS = 30.0
CALM_SECS = 60.0
"""A worker that served for so long starts at once when it dies."""
LEEWAY_SECS = 2.0
"""How much longer than its limit a worker may take to end before it is killed."""
LOOK_SECS = 0.05


class Pauses:
    """How long to wait before another worker starts: not at all, then 0.5 s doubling to 30 s."""

    def __init__(self) -> None:
        self._next = 0.0
        self._started = 0.0

    def started(self, now: float) -> None:
        """A worker starts. Times are seconds of one monotonic clock."""
        self._started = now

    def died(self, now: float) -> float:
        """Seconds to wait, after a worker has died."""
        if now - self._started >= CALM_SECS:
            self._next = 0.0
        pause = self._next
        self._next = min(LONGEST_PAUSE_SECS, max(FIRST_PAUSE_SECS, 2 * pause))
        return pause


class News:
    """Stands for granian's event: signal handlers and watching threads say that something happened.

    A handler runs in the middle of whatever the main thread does. An event's lock may be held just then; this may not.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Say so."""
        self._queue.put(None)

    def wait(self, secs: float | None = None) -> None:
        """Wait for it, at most `secs`."""
        with suppress(Empty):
            self._queue.get(timeout=secs)


class Supervisor(MPServer):
    """granian's server with one worker. `options` are granian's."""

    def __init__(self, in_force: InForce, **options: Any) -> None:
        super().__init__("fd_router", workers=1, log_enabled=False, **options)
        self._in_force = in_force
        self._deadline = float("inf")
        self._ignored: SimpleQueue[int] = SimpleQueue()
        self._owed: set[int] = set()
        self._pauses = Pauses()
        self._started = 0
        self.main_loop_interrupt = News()  # type: ignore[assignment]
        self.on_startup(self._take_signals)

    def _take_signals(self) -> None:
        """After granian has taken some."""
        signal.signal(signals.AT_ONCE, self._hurry)
        for number in signals.WITHOUT_EFFECT:
            signal.signal(number, self._ignore)
        for number in signals.HANDED_ON:
            signal.signal(number, self._hand_on)

    def signal_handler_interrupt(self, number: int, frame: Any) -> None:
        """TERM or INT: the first time the worker drains, the second time it ends at once."""
        if self.interrupt_signal:
            self._hurry(number, frame)
        self.interrupt_signal = True
        self.main_loop_interrupt.set()

    def _hurry(self, _number: int, _frame: Any) -> None:
        self.interrupt_signal = True
        self._deadline = min(self._deadline, time.monotonic() + LEEWAY_SECS)
        for worker in self.wrks:
            worker.interrupt_by_parent = True
            self._tell(worker, signals.AT_ONCE)
        self.main_loop_interrupt.set()

    def _ignore(self, number: int, _frame: Any) -> None:
        self._ignored.put(number)
        self.main_loop_interrupt.set()

    def _hand_on(self, number: int, _frame: Any) -> None:
        """To the worker, or to the next one where there is none."""
        if not any(self._tell(worker, number) for worker in self.wrks):
            self._owed.add(number)

    def _spawn_workers(self, spawn_target: Any, target_loader: Callable[..., Any]) -> None:
        held = signals.hold()
        try:
            super()._spawn_workers(spawn_target, target_loader)  # type: ignore[no-untyped-call]
            owed, self._owed = self._owed, set()
            for number in owed:
                self._hand_on(number, None)
        finally:
            signals.release(held)
        self._started += 1
        self._pauses.started(time.monotonic())

    def _serve_loop(self, spawn_target: Any, target_loader: Callable[..., Any]) -> None:
        while not self.interrupt_signal:
            self.main_loop_interrupt.wait()
            while not self._ignored.empty():
                self._say("info", messages.signal_ignored(signal.Signals(self._ignored.get()).name))
            if self.interrupt_children and not self.interrupt_signal:
                self._worker_died()
                if not self.interrupt_signal:
                    self._spawn_workers(spawn_target, target_loader)

    def _worker_died(self) -> None:
        """Say so, and wait until another one may start, or a signal ends all."""
        self.interrupt_children.clear()
        worker = self.wrks.pop()
        status = worker.inner.exitcode
        if status == START_FAILED and self._started == 1:
            sys.exit(1)
        now = time.monotonic()
        pause = self._pauses.died(now)
        self._say("error", messages.worker_died(worker.inner.pid, signals.exit_cause(status), pause))
        until = now + pause
        while not self.interrupt_signal and (rest := until - time.monotonic()) > 0:
            self.main_loop_interrupt.wait(rest)

    def _stop_workers(self) -> None:
        begun = time.monotonic()
        delay = timeout = told = 0.0
        for worker in self.wrks:
            worker.interrupt_by_parent = True
            while worker.is_alive():
                now = time.monotonic()
                # The worker takes each when it needs it, and a reload may have changed it by then.
                server = self._in_force.get().server
                delay, timeout = max(delay, server.drain_delay_secs), max(timeout, server.drain_timeout_secs)
                if now >= min(self._deadline, begun + delay + timeout + LEEWAY_SECS):
                    worker.kill()
                    worker.join()
                    self._say("error", messages.worker_killed(worker.inner.pid))
                    sys.exit(1)
                # Once may be lost, in the moment in which the worker's loop starts.
                if now - told >= 1.0:
                    told = now
                    self._tell(worker, signal.SIGTERM)
                worker.join(LOOK_SECS)
        self.wrks.clear()
        # At Ctrl-C it may have ended before it was told to.
        self.interrupt_children.clear()

    @staticmethod
    def _tell(worker: Any, number: int) -> bool:
        """Send a signal, if the process is there."""
        # `multiprocessing` would do the same, and look for the process's end first, which the watching thread does.
        if worker.inner.exitcode is None:
            with suppress(ProcessLookupError):
                os.kill(worker.inner.pid, number)
                return True
        return False

    def _say(self, level: str, message: str) -> None:
        """Write a line as the worker does. The log ends with it, as its thread must not be there at a fork."""
        log = Log(self._in_force.get().log)
        getattr(log, level)(message)
        log.close()
