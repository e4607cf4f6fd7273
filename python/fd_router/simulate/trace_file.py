"""Files of traces: which kind one is, and its requests."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

from fd_router._core import Trace

MAX_BYTES = 1 << 30
"""Of a trace's text; it is held in memory, and so is what is made of it."""

_GZIP = b"\x1f\x8b"


class SimulationError(Exception):
    """What cannot be simulated; `str()` says which file, which line where there is one, and why."""


class TraceFile:
    """One file, and what is in it."""

    def __init__(self, path: str) -> None:
        """Reads `path`. Raises `SimulationError`."""
        self.path = path
        self._text, packed = _read(path)
        first = _first(self._text)
        self.recorded = first.get("event") == "start"
        """Whether it is a recording of a router."""
        self._of_agents = "input_tail" in first
        if self.recorded and packed:
            raise SimulationError(f"{path}: a recording is read as it was written: unpack it")

    def trace(self, *, block_size: int, output_tokens: int, sessions: int | None, speed: float) -> Trace:
        """Its requests, see `Trace`. Raises `SimulationError`."""
        if sessions is not None and not self._of_agents:
            raise SimulationError(f"{self.path}: --sessions is for traces of agents' calls")
        try:
            if self.recorded:
                trace = Trace.recording(self.path, output_tokens)
            elif self._of_agents:
                trace = Trace.agents(self._text, block_size, self.path, sessions)
            else:
                trace = Trace.mooncake(self._text, block_size, self.path)
        except ValueError as error:
            raise SimulationError(str(error)) from error
        if trace.requests == 0:
            raise SimulationError(f"{self.path}: no requests")
        return trace.faster(speed)


def _read(path: str) -> tuple[str, bool]:
    """The text, and whether it was packed."""
    try:
        with open(path, "rb") as file:
            packed = file.read(len(_GZIP)) == _GZIP
            file.seek(0)
            data = (gzip.GzipFile(fileobj=file) if packed else file).read(MAX_BYTES + 1)
        text = data.decode()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SimulationError(f"{path}: {error}") from error
    except OSError as error:
        raise SimulationError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SimulationError(f"{path}:{line}: no text in UTF-8") from error
    if len(data) > MAX_BYTES:
        raise SimulationError(f"{path}: more than {MAX_BYTES} bytes")
    return text, packed


def _first(text: str) -> dict[str, Any]:
    """The first line's object; empty where there is none."""
    try:
        head = json.loads(text[: text.find("\n") + 1] or text)
    except ValueError:
        return {}
    return head if isinstance(head, dict) else {}
