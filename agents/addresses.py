"""Pod addresses out of the node's pod CIDR.

The first address is the gateway's (and, on one machine, the node's own). Others are handed out in
turn, so that an address is not used again at once: who still knows the old pod must not reach a new one.
"""

from __future__ import annotations

import ipaddress


class AddressPool:
    """The addresses of one range."""

    def __init__(self, cidr: str) -> None:
        self.cidr = cidr
        network = ipaddress.ip_network(cidr)
        self._first = int(network.network_address)
        self._size = network.num_addresses
        self._next = 2
        self._taken: dict[int, str] = {}
        self._by_owner: dict[str, int] = {}

    @property
    def gateway(self) -> str:
        return self._text(1)

    def take(self, owner: str) -> str | None:
        """An address; always the same for the same owner until released. None: there is none left."""
        known = self._by_owner.get(owner)
        if known is not None:
            return self._text(known)
        for step in range(self._size):
            offset = 2 + (self._next - 2 + step) % max(self._size - 3, 1)
            if offset not in self._taken and offset < self._size - 1:
                self._taken[offset] = owner
                self._by_owner[owner] = offset
                self._next = offset + 1
                return self._text(offset)
        return None

    def release(self, owner: str) -> None:
        offset = self._by_owner.pop(owner, None)
        if offset is not None:
            del self._taken[offset]

    def _text(self, offset: int) -> str:
        return str(ipaddress.ip_address(self._first + offset))
