"""Where workers may be: an address that registers is sent probes, prompts and polls, so not every one will do.

Registrations name addresses and never names, so what is checked here is what is connected to: there is no lookup whose
answer could change in between.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, TypeAlias

from fd_router.errors import RegistrationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fd_router.types import Instance

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

_METADATA = frozenset(
    ipaddress.ip_address(each)
    for each in (
        "169.254.169.254",  # most clouds
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure
    )
)
"""Services of clouds that hand credentials to who can ask from here."""
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_BROADCAST = ipaddress.ip_address("255.255.255.255")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Networks:
    """The networks of `manager.allowed-networks`; without any, all but what is always refused."""

    def __init__(self, cidrs: Iterable[str] = ()) -> None:
        self.reconfigure(cidrs)

    def reconfigure(self, cidrs: Iterable[str]) -> None:
        """From now on let workers be elsewhere; who is registered stays."""
        self._allowed = [ipaddress.ip_network(each) for each in cidrs]

    def require(self, instance: Instance) -> None:
        """Raise `RegistrationError` (403) for a worker at an address that it must not have."""
        address = ipaddress.ip_address(instance.host.strip("[]"))
        never = next(filter(None, map(_never, (address, *_within(address)))), None)
        if never is not None:
            raise RegistrationError(403, f"host_ip {address} is refused: {never}")
        if self._allowed and not any(address in network for network in self._allowed):
            raise RegistrationError(403, f"host_ip {address} is outside of manager.allowed-networks")


def _never(address: Address) -> str | None:
    """Why no worker can be at an address; None where one can."""
    if address in _METADATA:
        return "a metadata service of a cloud"
    if address.is_link_local:
        return "link-local"
    if address.is_multicast or address == _BROADCAST:
        return "multicast or broadcast"
    if address.is_unspecified or address in _THIS_NETWORK:
        return "no address of a machine"
    return None


def _within(address: Address) -> list[Address]:
    """The IPv4 addresses that an IPv6 one leads to on its way."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[Address | None] = [address.ipv4_mapped, address.sixtofour]
    if address in _NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return [each for each in found if each is not None]
