"""Signals, each handled on purpose; and the worker's bond to its supervisor.

| Signal | supervisor | worker |
|---|---|---|
| TERM, INT | the worker drains and ends; the second time: as QUIT | drains and ends; again: nothing new |
| QUIT | the worker ends what it serves, and itself, at once | the same |
| HUP | handed to the worker | reads the configuration again |
| USR1 | handed to the worker | opens the log files anew |
| USR2, ALRM | a line in the log | ignored |

Operators speak to the supervisor. A terminal and systemd tell every process of a group at once, so the worker must not
take a second TERM, which may be the supervisor's, for an order to hurry: that is QUIT. It is also what the kernel sends
the worker when its supervisor has died, in whatever way: nobody would restart or stop it, and it would keep the port.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterable

ENDING = (signal.SIGTERM, signal.SIGINT)
AT_ONCE = signal.SIGQUIT
HANDED_ON = (signal.SIGHUP, signal.SIGUSR1)
WITHOUT_EFFECT = (signal.SIGUSR2, signal.SIGALRM)
HANDLED = (*ENDING, AT_ONCE, *HANDED_ON, *WITHOUT_EFFECT)

_early: set[int] = set()
"""Those of `HANDED_ON` that came before somebody was there for them."""

_PR_SET_PDEATHSIG = 1
"""Of linux/prctl.h."""


def hold(numbers: Iterable[signal.Signals] = HANDLED) -> set[int | signal.Signals]:
    """Let signals wait while a worker is made, which begins with its supervisor's handlers. Returns what was held."""
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, numbers))


def release(before: Iterable[int]) -> None:
    """Hold only what was held `before`."""
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_worker(supervisor: int) -> None:
    """To be called first of all in the worker: nothing of it is there yet that could be ended in order.

    `supervisor` is the process id of who made it.
    """
    for number in (*ENDING, AT_ONCE):
        signal.signal(number, lambda *_: os._exit(0))
    for number in HANDED_ON:
        signal.signal(number, lambda came, _: _early.add(came))
    for number in WITHOUT_EFFECT:
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(AT_ONCE), 0, 0, 0)
        # It may have died before that.
        if os.getppid() != supervisor:
            os._exit(0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def take_over(loop: AbstractEventLoop, number: signal.Signals, call: Callable[[], object]) -> None:
    """Have the loop call for a signal of `HANDED_ON`, soon for one that has come already."""
    loop.add_signal_handler(number, call)
    if number in _early:
        _early.discard(number)
        loop.call_soon(call)


def exit_cause(status: int | None) -> str:
    """How a process ended, from its exit status as `multiprocessing` has it: negative for a signal."""
    if status is None:
        return "is gone"
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was ended by {name}"
