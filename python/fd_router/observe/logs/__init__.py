"""The router's log: a surface that operators grep and feed to scripts, kept off the hot path.

`Log` lays a line out, queues it and returns; one thread writes. `messages` holds the texts.
"""

from fd_router.observe.logs import messages
from fd_router.observe.logs.line import tags
from fd_router.observe.logs.log import Log

__all__ = ["Log", "messages", "tags"]
