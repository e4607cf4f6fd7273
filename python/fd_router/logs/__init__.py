"""The router's log: a surface that operators grep and feed to scripts, kept off the hot path.

`Log` formats a line, queues it and returns; one thread writes. `messages` holds the text of every line.
"""

from fd_router.logs import messages
from fd_router.logs.line import duration, tags, ts_ms
from fd_router.logs.log import Log

__all__ = ["Log", "duration", "messages", "tags", "ts_ms"]
