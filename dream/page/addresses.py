"""IP addresses: which are public, whose they are, and how much each may have of what all share."""

from __future__ import annotations

import ipaddress
from collections import Counter

# `ipaddress` changed its mind about some of these between Python 3.11 and 3.13, and takes multicast
# for global. Of IPv6 only 2000::/3 is routed; inside it Teredo and 6to4 lead to an IPv4 address.
IPV6_ROUTED = ipaddress.ip_network("2000::/3")
NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15"),
        *("224.0.0.0/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)


def is_public(address: str) -> bool:
    """Return whether an IP address is on the public internet, and no way to another address.

    Raises:
        ValueError: if it is no IP address.
    """
    ip = ipaddress.ip_address(address)
    is_routed = ip.version == 4 or ip in IPV6_ROUTED
    return ip.is_global and is_routed and not any(ip in network for network in NOT_PUBLIC)


def public_address(host: str) -> str:
    """Return what distinguishes a stranger's address from others; "" if it is not a public one.

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
    # Whoever has one IPv6 address has 2**64.
    return str(ip if ip.version == 4 else ipaddress.ip_network((ip, 64), False))


class AddressShares:
    """How many of `limit` things each public address has: a quarter of them at most.

    Behind a proxy all come from one address, which is private, and has all of them.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._counts: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """How many things all addresses have."""
        return self._counts.total()

    def enter(self, address: str) -> bool:
        """Count one more of an address, as `public_address` returns it.

        Returns:
            False, and counts nothing, if the address has its quarter already.
        """
        if address and self._counts[address] >= self.limit // 4:
            return False
        self._counts[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count one less of an address that entered."""
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]
