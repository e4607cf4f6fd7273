"""How the process deals with its memory, told to Python's collector and to the C library's allocator."""

from __future__ import annotations

import ctypes
import gc

GC_YOUNG = 20_000
"""New container objects after which the garbage collector looks at them."""
KEPT_FREE = 64 << 20
"""Freed bytes that an arena of the allocator keeps at its end (one for a few threads) before it gives them back."""
MAPPED_FROM = 8 << 20
"""Bytes of a block that the allocator maps for itself, and gives back as soon as it is freed."""

# Names and values of malloc.h (mallopt(3)).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def settle() -> None:
    """To be called once what lives for good is built."""
    _collect_seldom()
    _keep_freed()


def _collect_seldom() -> None:
    # What lives now lives for good: full collections need not walk it again and again.
    gc.collect()
    gc.freeze()
    # A request makes some hundred short-lived objects and no cycles: with the default of 700 the young generation
    # would be searched every few requests, for nothing.
    gc.set_threshold(GC_YOUNG, 20, 20)


def _keep_freed() -> None:
    """Nothing happens where the C library is not glibc.

    By default glibc gives the pieces of a long body back with every request, and the kernel zeroes them anew for the
    next one: a sixth of the processor time of a request of 1 MiB.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, KEPT_FREE)
        mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM)
