"""Classify IP addresses and limit the share that each public address may use."""

from __future__ import annotations

import ipaddress
from collections import Counter

# `ipaddress` classifies some of these differently in Python 3.11 and 3.13, and counts multicast as
# global. Only 2000::/3 of IPv6 is routed; in it, Teredo and 6to4 lead to an IPv4 address.
ROUTED_IPV6_NETWORK = ipaddress.ip_network("2000::/3")
NON_PUBLIC_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15"),
        *("224.0.0.0/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)


def is_public(address: str) -> bool:
    """Return whether an IP address is public and does not tunnel to another address.

    Raises:
        ValueError: if `address` is not an IP address.
    """
    ip = ipaddress.ip_address(address)
    is_routed = ip.version == 4 or ip in ROUTED_IPV6_NETWORK
    return ip.is_global and is_routed and not any(ip in network for network in NON_PUBLIC_NETWORKS)


def public_address(host: str) -> str:
    """Return the address (IPv4) or network (IPv6) that identifies a client; "" if not public.

    >>> public_address("93.184.215.14"), public_address("2606:2800:21f:cb07:1::2")
    ('93.184.215.14', '2606:2800:21f:cb07::/64')
    >>> public_address("10.0.0.1"), public_address("::ffff:127.0.0.1"), public_address("")
    ('', '', '')
    """
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return ""
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if not is_public(str(ip)):
        return ""
    # One IPv6 client usually has a whole /64 network.
    return str(ip if ip.version == 4 else ipaddress.ip_network((ip, 64), False))


class AddressShares:
    """Counts per address; each public address gets at most a quarter of `limit`.

    Behind a proxy, all requests come from one private address, which has no share limit.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._counts: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """Sum over all addresses."""
        return self._counts.total()

    def enter(self, address: str) -> bool:
        """Count one more for a `public_address`; return False if its share is used up."""
        if address and self._counts[address] >= self.limit // 4:
            return False
        self._counts[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count one less for an address that entered."""
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]
