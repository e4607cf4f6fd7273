"""Long work in another thread that leaves the GIL to the event loop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

SLICE = 128
"""Items between two pauses, some 0.2 ms of work."""

PAUSE_SECS = 0.0001
"""A pause of 0 would do nothing: the GIL is back before a waiting thread has woken up."""


def paced(items: Iterable[T], weight: int = 1) -> Iterator[T]:
    """The same items, with a pause after each `SLICE`; what Python does by itself lets the loop wait for 5 ms.

    One that is as much work as several counts for `weight`.
    """
    every = max(1, SLICE // weight)
    for count, item in enumerate(items, 1):
        yield item
        if count % every == 0:
            time.sleep(PAUSE_SECS)
