"""Whose an address is: which node of this process, or another one's pods.

Where several nodes share a machine's loopback, most addresses (of Services, 127.0.0.1) are nobody's own:
then all nodes of the process are meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network

CACHED = 4096
"""Addresses that are not worked out again."""


class Whereabouts:
    def __init__(self, *, apart: bool = False) -> None:
        """`apart`: each node has a machine of its own, so all of a client's connections come this way."""
        self._apart = apart
        self._nodes: dict[str, tuple[str, IPv4Network]] = {}
        self._others: dict[str, IPv4Network] = {}
        self._zones: dict[str, str] = {}
        self._owner: dict[str, str] = {}

    @property
    def node_ips(self) -> list[str]:
        return [ip for ip, _ in self._nodes.values()]

    def join(self, node: str, ip: str, pod_cidr: str) -> bool:
        """A node of this process; whether that is news."""
        known = (ip, IPv4Network(pod_cidr))
        if self._nodes.get(node) == known:
            return False
        self._nodes[node] = known
        self._owner.clear()
        return True

    def learn(self, node: str, pod_cidr: str) -> None:
        """Where another node's pods are; empty: it is gone."""
        self._others.pop(node, None)
        if pod_cidr:
            self._others[node] = IPv4Network(pod_cidr)
        self._owner.clear()

    def set_zone(self, node: str, zone: str) -> None:
        self._zones.pop(node, None)
        if zone:
            self._zones[node] = zone

    def is_here(self, node: str) -> bool:
        return node in self._nodes

    def nodes_at(self, ip: str) -> Sequence[str]:
        """The node of this process that the address belongs to; all of them where it is nobody's own."""
        owner = self._owner_of(ip)
        return (owner,) if owner in self._nodes else tuple(self._nodes)

    def is_pod(self, ip: str) -> bool:
        """Of any node that this one knows; a node's own address is none."""
        owner = self._owner_of(ip)
        return bool(owner) and (owner not in self._nodes or self._nodes[owner][0] != ip)

    def sees_all_of(self, ip: str) -> bool:
        """Whether every connection of this client comes this way, so that it can be remembered here."""
        return self._apart or self._owner_of(ip) in self._nodes

    def zone_of(self, node: str) -> str:
        return self._zones.get(node, "")

    def _owner_of(self, ip: str) -> str:
        if not ip:
            return ""
        known = self._owner.get(ip)
        if known is None:
            if len(self._owner) >= CACHED:
                self._owner.clear()
            known = self._owner[ip] = self._search(IPv4Address(ip))
        return known

    def _search(self, ip: IPv4Address) -> str:
        for name, (own, cidr) in self._nodes.items():
            if ip in cidr or str(ip) == own:
                return name
        return next((name for name, cidr in self._others.items() if ip in cidr), "")
