"""Reads event streams as strictly as the standard says: an event ends with a blank line, all else is no event yet."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

LINE_END = re.compile(rb"\r\n|\n|\r")


class Events(NamedTuple):
    """A stream as a client sees it."""

    data: list[bytes]
    """The data of each complete event."""
    rest: bytes
    """What came after the last complete event."""

    @classmethod
    def parse(cls, stream: bytes) -> Events:
        data: list[bytes] = []
        lines: list[bytes] = []
        at = 0
        while end := LINE_END.search(stream, at):
            line, at = stream[at : end.start()], end.end()
            if line:
                lines.append(line)
                continue
            if lines:
                data.append(b"\n".join(value(line) for line in lines if line.startswith(b"data")))
            lines = []
        return cls(data, b"\n".join([*lines, stream[at:]]) if lines else stream[at:])

    def error(self) -> dict[str, Any]:
        """The error that a broken stream must end with. Raises `AssertionError` for any other end."""
        assert self.rest == b"", f"after the last event: {self.rest!r}"
        last = json.loads(self.data[-1])
        assert set(last) == {"error"}, last
        assert set(last["error"]) == {"message", "type", "code"}, last
        error: dict[str, Any] = last["error"]
        return error

    @property
    def finished(self) -> bool:
        """Whether it ended as a whole answer does."""
        return self.rest == b"" and self.data[-1:] == [b"[DONE]"]


def value(line: bytes) -> bytes:
    """The value of a field line."""
    return line.partition(b":")[2].removeprefix(b" ")
