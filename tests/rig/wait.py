"""Waiting without fixed sleeps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
LIMIT = 20.0
"""Seconds; generous, because a loaded machine must not fail a test."""


def wait_for(what: Callable[[], T | None], *, limit: float = LIMIT, why: str | Callable[[], str] = "") -> T:
    """Call `what` until it gives something true, and return that. Raises `TimeoutError` that says `why`."""
    deadline = time.monotonic() + limit
    pause = 0.002
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > deadline:
            reason = why() if callable(why) else why
            raise TimeoutError(f"not within {limit} s: {reason or what}")
        time.sleep(pause)
        pause = min(0.05, pause * 1.5)
