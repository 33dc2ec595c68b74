"""NetworkPolicy, as far as a node has to know it: who may talk to whom, by address.

The control plane resolves the selectors (see `cluster.server.gateway.policyworld`): `TrafficRules` for each
policy speak of sets of pods by the sets' names, and the sets come as `PodSet`s, in pieces. So a pod that
comes or goes changes one small piece wherever it matters, no node knows the labels of all pods, and a
decision costs a few look-ups.

A pod that no policy selects for a direction is open in it; one that is selected is open only to what any of
its policies admits. A connection needs the egress of its source and the ingress of its target. What is not
a pod's address counts as an outside address, for which only ipBlock speaks; the node's own traffic (probes,
port forwarding, proxies without a known client) is always let in, as Kubernetes asks for, and so is what a
pod sends to itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from cluster.api.objects import Key, Object

NamedPorts = Mapping[str, int]
"""As "TCP/http": its number at one pod."""


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
    name: str
    """Empty: it is given by number."""

    def holds(self, protocol: str, port: int, named: NamedPorts) -> bool:
        if protocol != self.protocol:
            return False
        if self.name:
            return named.get(f"{protocol}/{self.name}") == port
        return self.first == 0 or self.first <= port <= self.last


@dataclass(frozen=True, slots=True)
class Rule:
    anyone: bool
    sets: tuple[str, ...]
    blocks: tuple[Block, ...]
    ports: tuple[Port, ...]
    """None of them: all ports."""


@dataclass(frozen=True, slots=True)
class Rules:
    """One policy; None: it does not speak of this direction."""

    pods: str
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None


class Policies:
    """All policies of the cluster. `exempt`: addresses of nodes."""

    def __init__(self) -> None:
        self.exempt: dict[str, None] = {"": None, "127.0.0.1": None}
        self._rules: dict[Key, Rules] = {}
        self._by_subject: dict[str, dict[Key, Rules]] = {}
        self._pieces: dict[Key, Mapping[str, NamedPorts]] = {}
        self._sets_of: dict[str, dict[str, NamedPorts]] = {}
        """Address → the sets it is in, with its named ports."""

    # --- what is told

    def take(self, kind: str, key: Key, obj: Object | None) -> None:
        """A policy's rules or a piece of a set; None: it is gone."""
        if kind == "PodSet":
            self._take_piece(key, obj["pods"] if obj is not None else {})
        else:
            self._take_rules(key, obj)

    def _take_piece(self, key: Key, pods: Mapping[str, NamedPorts]) -> None:
        for ip in self._pieces.pop(key, {}):
            held = self._sets_of[ip]
            held.pop(key.namespace, None)
            if not held:
                del self._sets_of[ip]
        if pods:
            self._pieces[key] = pods
        for ip, named in pods.items():
            self._sets_of.setdefault(ip, {})[key.namespace] = named

    def _take_rules(self, key: Key, obj: Object | None) -> None:
        former = self._rules.pop(key, None)
        if former is not None:
            sharing = self._by_subject[former.pods]
            del sharing[key]
            if not sharing:
                del self._by_subject[former.pods]
        if obj is not None:
            rules = Rules(obj["pods"], _rules(obj.get("ingress")), _rules(obj.get("egress")))
            self._rules[key] = rules
            self._by_subject.setdefault(rules.pods, {})[key] = rules

    # --- decisions

    def permits(self, source: str, target: str, protocol: str, port: int) -> bool:
        if not self._rules or source == target:
            return True
        named = self._named(target)
        if source and not self._opens("egress", source, target, protocol, port, named):
            return False
        return source in self.exempt or self._opens("ingress", target, source, protocol, port, named)

    def _opens(
        self, direction: str, subject: str, peer: str, protocol: str, port: int, named: NamedPorts
    ) -> bool:
        isolated = False
        for pods in self._sets_of.get(subject, ()):
            for policy in self._by_subject.get(pods, {}).values():
                rules = policy.ingress if direction == "ingress" else policy.egress
                if rules is None:
                    continue
                isolated = True
                if any(self._admits(rule, peer, protocol, port, named) for rule in rules):
                    return True
        return not isolated

    def _admits(self, rule: Rule, peer: str, protocol: str, port: int, named: NamedPorts) -> bool:
        if rule.ports and not any(p.holds(protocol, port, named) for p in rule.ports):
            return False
        if rule.anyone:
            return True
        held = self._sets_of.get(peer)
        if held is not None and any(name in held for name in rule.sets):
            return True
        return bool(rule.blocks) and any(block.holds(IPv4Address(peer)) for block in rule.blocks)

    def _named(self, ip: str) -> NamedPorts:
        """A pod's named ports; sets that no named port is asked of don't tell them."""
        return next((named for named in self._sets_of.get(ip, {}).values() if named), {})


def _rules(told: list[Object] | None) -> tuple[Rule, ...] | None:
    return None if told is None else tuple(_rule(rule) for rule in told)


def _rule(rule: Object) -> Rule:
    return Rule(
        anyone=rule["anyone"],
        sets=tuple(rule["sets"]),
        blocks=tuple(
            Block(IPv4Network(cidr, strict=False), tuple(IPv4Network(h, strict=False) for h in holes))
            for cidr, holes in rule["blocks"]
            if ":" not in cidr
        ),
        ports=tuple(Port(p["protocol"], p["first"], p["last"], p.get("name", "")) for p in rule["ports"]),
    )
