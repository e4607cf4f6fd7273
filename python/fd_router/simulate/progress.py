"""A line that says how far it is, where somebody may be looking."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

WIDTH = 30
_CLEAR = "\r\x1b[K"


class Progress:
    """One line on `stream`, over and over; nothing where that is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream if stream.isatty() else None

    def show(self, label: str, done: int, of: int) -> None:
        """`done` of so many."""
        if self._stream:
            filled = WIDTH * done // of
            bar = "#" * filled + "." * (WIDTH - filled)
            self._stream.write(f"{_CLEAR}[{bar}] {done / of:4.0%} {label}")
            self._stream.flush()

    def clear(self) -> None:
        """Takes the line away."""
        if self._stream:
            self._stream.write(_CLEAR)
            self._stream.flush()
