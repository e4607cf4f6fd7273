"""What a replica calls itself."""

from __future__ import annotations

import re
import secrets
import socket


def own_name() -> str:
    """A name for this process among the replicas."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:48]
    return f"{host}-{secrets.token_hex(4)}"
