"""Which web pages may make a browser ask what is for operators and engines, where no key does: the router's own.

Whoever reaches an open router may give it orders, and so does a browser for every page that its user looks at. Browsers
say who makes them ask: in `Sec-Fetch-Site` where the router is asked over https or on this machine (Fetch Metadata),
and in `Origin` with every POST (the Fetch standard, 3.2). Scripts and engines send neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fd_router.downstream import headers as http_headers
from fd_router.errors import ForeignPageError, printable

if TYPE_CHECKING:
    from fd_router.types import Headers

OURS = frozenset({b"same-origin", b"none"})
"""Sites by `Sec-Fetch-Site`; nobody's is what the user typed or kept as a bookmark."""
SHOWN = 80
"""Characters of an origin that an answer repeats."""
_PORTS = {b"http": b":80", b"https": b":443"}


def require_ours(headers: Headers) -> None:
    """Raise `ForeignPageError` where a browser says that a page which is not the router's makes it ask."""
    origin = http_headers.get(headers, b"origin")
    site = http_headers.get(headers, b"sec-fetch-site")
    if site is not None:
        ours = site in OURS
    elif origin is not None:
        # Only here does a proxy that changes the host do harm.
        ours = _names(origin, http_headers.get(headers, b"host") or b"")
    else:
        return
    if not ours:
        who = printable((origin or b"another site").decode("latin-1")[:SHOWN])
        raise ForeignPageError(f"a web page of {who} may not ask this where no server.admin-key is set")


def _names(origin: bytes, host: bytes) -> bool:
    """Whether an origin is that of a host as `Host` has it; browsers leave out the scheme's own port."""
    scheme, _, place = origin.partition(b"://")
    return bool(place) and place.lower() == host.lower().removesuffix(_PORTS.get(scheme, b" "))
