"""What the engine saw and did, for tests to ask."""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fd_router.mock_engine.request import Request

MAX_BODY_KEPT = 1 << 20


@dataclass(slots=True)
class Counts:
    """Inference requests by outcome, and what else was counted since the start."""

    requests: int = 0
    finished: int = 0
    refused: int = 0
    aborted: int = 0
    """Ended because the client left."""
    broken_off: int = 0
    """Ended by a fault."""
    stalled: int = 0
    """Stopped for good by a fault; each is counted as aborted too once its client has left."""
    probes: int = 0
    connections: int = 0
    registrations: int = 0
    """Answered with a status below 400."""
    kv_sent: int = 0


class Record:
    """Counts, and the last inference requests with their raw bytes."""

    def __init__(self, keep: int) -> None:
        self.counts = Counts()
        self._last: deque[Request] = deque(maxlen=keep)

    def saw(self, request: Request) -> None:
        """Count and keep an inference request."""
        self.counts.requests += 1
        self._last.append(request)

    def stalled(self) -> None:
        """Count a request that a fault has stopped."""
        self.counts.stalled += 1

    def json(self) -> dict[str, Any]:
        """Counts, and `last`: the last requests, oldest first; head and body (up to 1 MiB) in base64."""
        last = [
            {
                "method": request.method,
                "target": request.target,
                "head": b64encode(request.head).decode(),
                "body": b64encode(request.body[:MAX_BODY_KEPT]).decode(),
            }
            for request in self._last
        ]
        return {**asdict(self.counts), "last": last}
