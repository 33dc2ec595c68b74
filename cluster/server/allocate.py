"""Cluster IPs and node ports of Services: given on create, kept over updates, returned on delete.

The books are made from the stored Services at the start, so there is nothing to recover and nothing to
repair. Addresses: an explicit request may be anywhere in the range; a drawn one is taken from its upper
part first, which leaves the lower part to those who choose (as Kubernetes splits its ranges).

Divergence: one IP family (IPv4); no IPAddress objects are kept for the addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import Any

from broker.chance import Chance
from cluster.api import errors
from cluster.api.objects import Object
from cluster.server.call import Call as _Call  # noqa: F401
from cluster.store.store import Store

NODE_PORTS = range(30000, 32768)


class ServiceAllocator:
    """Hands out what Services hold. Other kinds pass through untouched."""

    def __init__(self, store: Store, *, cidr: str, chance: Chance) -> None:
        self.network = IPv4Network(cidr)
        self._chance = chance
        self._addresses: dict[str, str] = {}
        self._ports: dict[int, str] = {}

    def allocate(
        self, qualified: str, obj: Object, old: Mapping[str, Any] | None, *, dry_run: bool
    ) -> None:
        """Completes a Service before validation."""

    def release(self, qualified: str, old: Mapping[str, Any]) -> None:
        """Takes back what a removed Service held."""

    def undo_of(self, qualified: str) -> Callable[[], None] | None:
        """What gives back everything allocated from now on, for a write that fails later."""
        return None
