"""Who may do what: the keys of clients, operators and engines, and the address that a client is known by.

A key is compared by its digest, every configured one each time, so that neither its length nor where it differs shows
in the time. Keys stay here: an answer, a log line or an engine never sees one.
"""

from __future__ import annotations

import binascii
import hmac
import ipaddress
from base64 import b64decode
from hashlib import sha256
from typing import TYPE_CHECKING, Literal, TypeAlias

from fd_router.downstream import headers as http_headers
from fd_router.edge.pages import require_ours
from fd_router.errors import UnauthorizedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fd_router.config import Config, Secret
    from fd_router.downstream.client import Client
    from fd_router.types import Headers

Guard: TypeAlias = Literal["anyone", "client", "engine", "operator", "visitor"]
"""Whom an endpoint is for. A visitor is anyone who reaches the operators' endpoints."""
OPEN = frozenset[Guard]({"anyone", "visitor"})
"""Whose endpoints ask for no key."""

AUTHORIZATION = b"authorization"


class Keyring:
    """Some keys, of which one opens."""

    def __init__(self, keys: Iterable[Secret]) -> None:
        self._digests = [sha256(key.value.encode()).digest() for key in keys if key]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def opens(self, sent: bytes) -> bool:
        """Whether what was sent is one of the keys."""
        digest = sha256(sent).digest()
        # Added up, as `any` would end at the first that fits.
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0


class Access:
    """Lets a request through to an endpoint, or not."""

    def __init__(self, config: Config) -> None:
        self.reconfigure(config)

    def reconfigure(self, config: Config) -> None:
        """Go by other keys and proxies."""
        server, manager = config.server, config.manager
        operator = [server.admin_key]
        self._rings: Mapping[Guard, Keyring] = {
            "client": Keyring(server.api_keys),
            "engine": Keyring([*operator, manager.register_token]),
            "operator": Keyring(operator),
        }
        self._own = Keyring([*server.api_keys, *operator, manager.register_token])
        self._proxies = [ipaddress.ip_network(network) for network in server.trusted_proxies]

    def check(self, guard: Guard, client: Client) -> None:
        """Raise `UnauthorizedError` for a request without the key that its endpoint asks for, and where that is none
        `ForeignPageError` for an order of a web page's.

        A request for engines loses a key of this router's.
        """
        if guard in OPEN:
            return
        ring = self._rings[guard]
        if guard != "client" and not ring:
            require_ours(client.headers)
        if not self._own:
            return
        sent = _key(client.headers, basic=guard == "engine")
        if ring and not (sent is not None and ring.opens(sent)):
            raise _refusal(missing=sent is None)
        if guard == "client" and (ring or (sent is not None and self._own.opens(sent))):
            client.headers = [pair for pair in client.headers if pair[0] != AUTHORIZATION]

    def origin(self, peer: str, headers: Headers) -> str:
        """The address that a client is known by: of `X-Forwarded-For`, read from its end, the first that is no trusted
        proxy's, where `peer` is one; else `peer`."""
        if not self._proxies or not self._trusted(peer):
            return peer
        lines = [value for name, value in headers if name == b"x-forwarded-for"]
        hops = b",".join(lines).decode("latin-1").split(",") if lines else []
        for hop in reversed(hops):
            address = _address(hop.strip())
            if address is None:
                break
            peer = address
            if not self._trusted(peer):
                break
        return peer

    def _trusted(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._proxies)


def exposures(config: Config) -> Iterator[str]:
    """What whoever reaches the listeners may do, where they listen beyond this machine; one line for each."""
    server, manager = config.server, config.manager
    control = server.admin_host or server.host if server.admin_port else server.host
    if not _loopback(server.host) and not server.api_keys:
        yield f"{server.host}:{server.port} takes prompts from everybody: server.api-keys is empty"
    if _loopback(control):
        return
    place = f"{control}:{server.admin_port or server.port}"
    if not server.admin_key:
        yield f"{place} takes orders from everybody: server.admin-key is empty"
        if not manager.register_token:
            yield f"{place} takes everybody for an engine: manager.register-token is empty"


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _key(headers: Headers, *, basic: bool) -> bytes | None:
    """What `Authorization: Bearer` has; with `basic` also the password of a url, all that an engine can be given."""
    scheme, _, value = (http_headers.get(headers, AUTHORIZATION) or b"").partition(b" ")
    value = value.strip()
    if scheme.lower() == b"bearer" and value:
        return value
    if basic and scheme.lower() == b"basic":
        try:
            return b64decode(value, validate=True).partition(b":")[2] or None
        except binascii.Error:
            return None
    return None


def _refusal(*, missing: bool) -> UnauthorizedError:
    return UnauthorizedError(
        "a key is required: Authorization: Bearer KEY" if missing else "the key is not accepted"
    )


def _address(hop: str) -> str | None:
    """An address as proxies write it, some with a port; None for anything else."""
    host = hop
    if hop.startswith("["):
        host = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        host = hop.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
