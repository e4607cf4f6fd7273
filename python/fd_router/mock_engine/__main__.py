"""`python -m fd_router.mock_engine`."""

from __future__ import annotations

import asyncio
import sys
from importlib.util import find_spec

from fd_router.mock_engine.heartbeat import router_address
from fd_router.mock_engine.options import parse_options
from fd_router.mock_engine.server import serve


def main() -> int:
    """Run one mock engine; the exit status is 0 after SIGTERM or SIGINT, 1 when it cannot start."""
    options = parse_options()
    try:
        if options.router is not None:
            router_address(options.router)
        if find_spec("uvloop"):
            import uvloop  # noqa: PLC0415 - optional on platforms without it

            uvloop.run(serve(options))
        else:
            asyncio.run(serve(options))
    except (OSError, ValueError) as error:
        print(f"mock engine: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
