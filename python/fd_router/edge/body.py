"""Limits of request bodies."""

MIB = 1 << 20
CONTROL_BODY_LIMIT = MIB
"""Bytes of a body on the endpoints that do not serve completions."""
BODY_TIMEOUT = 60.0
"""Seconds in which a client must have sent its body."""
