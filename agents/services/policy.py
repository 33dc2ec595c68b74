"""NetworkPolicy, as far as a node has to know it: who may talk to whom, by address.

The control plane resolves the selectors and sends each policy as `TrafficRules` (see
`cluster.server.gateway.traffic`): the addresses of the pods it selects and those of the peers it admits. So
a node decides with two look-ups per connection, and no node knows the labels of all pods.

A pod that no policy selects for a direction is open in it; one that is selected is open only to what any of
its policies admits. A connection needs the egress of its source and the ingress of its target. What is not
a pod's address counts as an outside address, for which only ipBlock speaks; the node's own traffic (probes,
port forwarding, proxies without a known client) is always let in, as Kubernetes asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from cluster.api.objects import Key, Object, key_of

KIND = "TrafficRules"


@dataclass(frozen=True, slots=True)
class Block:
    network: IPv4Network
    holes: tuple[IPv4Network, ...]

    def holds(self, ip: IPv4Address) -> bool:
        return ip in self.network and not any(ip in hole for hole in self.holes)


@dataclass(frozen=True, slots=True)
class Port:
    protocol: str
    first: int
    """0: all."""
    last: int
    named: dict[str, int] | None
    """Of a port given by name: its number at each pod."""

    def holds(self, protocol: str, port: int, target: str) -> bool:
        if protocol != self.protocol:
            return False
        if self.named is not None:
            return self.named.get(target) == port
        return self.first == 0 or self.first <= port <= self.last


@dataclass(frozen=True, slots=True)
class Rule:
    anyone: bool
    pods: frozenset[str]
    blocks: tuple[Block, ...]
    ports: tuple[Port, ...]
    """None of them: all ports."""

    def admits(self, peer: str, target: str, protocol: str, port: int) -> bool:
        if self.ports and not any(p.holds(protocol, port, target) for p in self.ports):
            return False
        if self.anyone or peer in self.pods:
            return True
        return bool(self.blocks) and any(block.holds(IPv4Address(peer)) for block in self.blocks)


class Policies:
    """All policies of the cluster. `exempt`: addresses of nodes."""

    def __init__(self) -> None:
        self.exempt: dict[str, None] = {"": None, "127.0.0.1": None}
        self._rules: dict[Key, Object] = {}
        self._ingress: dict[str, list[Rule]] | None = None
        self._egress: dict[str, list[Rule]] = {}

    def put(self, rules: Object) -> None:
        self._rules[key_of(rules)] = rules
        self._ingress = None

    def drop(self, key: Key) -> None:
        self._rules.pop(key, None)
        self._ingress = None

    def permits(self, source: str, target: str, protocol: str, port: int) -> bool:
        if not self._rules:
            return True
        if self._ingress is None:
            self._compile()
        assert self._ingress is not None
        out = self._egress.get(source)
        if out is not None and not any(rule.admits(target, target, protocol, port) for rule in out):
            return False
        into = self._ingress.get(target)
        if into is None or source in self.exempt:
            return True
        return any(rule.admits(source, target, protocol, port) for rule in into)

    def _compile(self) -> None:
        self._ingress, self._egress = {}, {}
        for policy in self._rules.values():
            for direction, table in (("ingress", self._ingress), ("egress", self._egress)):
                if policy.get(direction) is None:
                    continue
                rules = [_rule(rule) for rule in policy[direction]]
                for ip in policy["pods"]:
                    table.setdefault(ip, []).extend(rules)


def _rule(rule: Object) -> Rule:
    return Rule(
        anyone=rule["anyone"],
        pods=frozenset(rule["pods"]),
        blocks=tuple(
            Block(IPv4Network(cidr, strict=False), tuple(IPv4Network(h, strict=False) for h in holes))
            for cidr, holes in rule["blocks"]
        ),
        ports=tuple(Port(p["protocol"], p["first"], p["last"], p.get("named")) for p in rule["ports"]),
    )
