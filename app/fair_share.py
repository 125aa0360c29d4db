"""A bounded amount that several callers take from, so that none can take it all."""

import ipaddress
from collections import Counter

IPV6_NETWORK = 64  # bits that a site is given at least: one machine has all addresses below them
PROXY = "the reverse proxy"  # the caller of a connection without an address


class FairShare:
    """Gives each caller at most as much as is still free for all.

    A caller alone gets half of `total`, two get a third each, and something is always left for a new one
    (dynamic thresholds: Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998).
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.held = 0
        self._by_caller: Counter[str] = Counter()

    def take(self, caller: str, amount: int) -> bool:
        """Count `amount` as held by a caller; False, and nothing is counted, where that is too much."""
        if self._by_caller[caller] + amount > self.total - self.held - amount:
            if not self._by_caller[caller]:
                del self._by_caller[caller]
            return False
        self._by_caller[caller] += amount
        self.held += amount
        return True

    def give_back(self, caller: str, amount: int) -> None:
        """Count no longer what `take` has counted."""
        self.held -= amount
        self._by_caller[caller] -= amount
        if not self._by_caller[caller]:
            del self._by_caller[caller]


def caller_of(address: str) -> str:
    """The caller that an address counts for: itself, or its network of 64 bits in IPv6."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, IPV6_NETWORK), strict=False))
