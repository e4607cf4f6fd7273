"""What may be caught of a part that fails, so that the others live on.

A panic in Rust arrives in Python as a `BaseException` that is no `Exception`: who catches only the latter loses a
background round for good, without a word.
"""

from __future__ import annotations

import asyncio

ENDINGS = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)
"""What ends a task or the process on purpose, and is no failure. Everything else of `BaseException` is one."""
