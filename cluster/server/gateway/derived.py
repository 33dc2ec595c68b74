"""What all nodes need to know and no object says: resolved policies, certificates of Ingresses, routes.

A NetworkPolicy speaks in selectors over pods and namespaces. They are resolved here, once, into addresses
(`TrafficRules`), so that no node has to know the labels of every pod in the cluster; while there is no
policy, pods and namespaces cost a look-up in a dict. Changes are collected for a moment and everything is
worked out again: `Sharing.tell` sends only what is different then.

Where nodes have addresses of their own, each is told the way to the others' pods (`NodeRoute`: a pod range
and the node's address), which is all that the routed network needs to know of a Node.

The Secrets that Ingresses name for TLS go to every node, because each runs an ingress proxy; other Secrets
only go where a pod needs them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import orjson

from cluster.api.client import EventType
from cluster.api.objects import Key, Object
from cluster.api.selectors import LabelSelector, of_object_form
from cluster.server.gateway.sharing import Sharing
from cluster.store.entry import Change
from cluster.store.store import Store

SPACING_S = 0.05
"""How long changes are collected."""
POLICIES = "networkpolicies.networking.k8s.io"
INGRESSES = "ingresses.networking.k8s.io"


@dataclass(frozen=True, slots=True)
class Pod:
    """What policies see of a pod."""

    ip: str
    labels: dict[str, str]
    ports: dict[tuple[str, str], int]
    """(protocol, name) → number."""


class Derived:
    """`share`: there is something new to send."""

    def __init__(self, store: Store, sharing: Sharing, share: Callable[[], None]) -> None:
        self._store = store
        self._sharing = sharing
        self._share = share
        self._told: dict[tuple[str, Key], Object] = {}
        self._secrets: dict[Key, None] = {}
        self._any_policy = False
        self._timer: asyncio.TimerHandle | None = None

    def load(self) -> None:
        """Starts from what the store holds."""
        self._soon()

    def apply(self, changes: Iterable[Change]) -> None:
        if self._timer is None and any(self._matters(change) for change in changes):
            self._soon()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _matters(self, change: Change) -> bool:
        match change.entry.qualified:
            case "networkpolicies.networking.k8s.io" | "ingresses.networking.k8s.io":
                return True
            case "secrets":
                return change.entry.key in self._secrets
            case "pods" if self._any_policy:
                before = change.previous
                gone = change.type is EventType.DELETED
                return gone or before is None or _seen(before.object) != _seen(change.entry.object)
            case "nodes":
                before = change.previous
                gone = change.type is EventType.DELETED
                return gone or _way(before.object if before else {}) != _way(change.entry.object)
            case "namespaces":
                return self._any_policy
            case _:
                return False

    def _soon(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SPACING_S, self._settle)

    def _settle(self) -> None:
        self._timer = None
        found = {**self._rules(), **self._certificates(), **self._routes()}
        for identity, obj in found.items():
            self._sharing.tell(obj)
            self._told[identity] = obj
        for identity in [identity for identity in self._told if identity not in found]:
            self._sharing.withdraw(self._told.pop(identity))
        self._share()

    def _rules(self) -> dict[tuple[str, Key], Object]:
        policies = [entry.object for entry in self._store.list(POLICIES, "")]
        self._any_policy = bool(policies)
        if not policies:
            return {}
        world = World.of(self._store)
        resolved = [traffic_rules(policy, world) for policy in policies]
        return {("TrafficRules", _key(obj)): obj for obj in resolved}

    def _routes(self) -> dict[tuple[str, Key], Object]:
        nodes = [entry.object for entry in self._store.list("nodes", "")]
        ways = [(node, way) for node in nodes if (way := _way(node)) is not None]
        return {("NodeRoute", _key(node)): _route(node, way) for node, way in ways}

    def _certificates(self) -> dict[tuple[str, Key], Object]:
        self._secrets = dict.fromkeys(
            Key(entry.key.namespace, tls["secretName"])
            for entry in self._store.list(INGRESSES, "")
            for tls in entry.object["spec"].get("tls") or ()
            if tls.get("secretName")
        )
        entries = ((key, self._store.get("secrets", key)) for key in self._secrets)
        return {("Secret", key): entry.object for key, entry in entries if entry is not None}


def _way(node: Object) -> tuple[str, str] | None:
    """The node's pod range and the address that it is reached by; None where no route is needed."""
    pod_cidr = (node.get("spec") or {}).get("podCIDR", "")
    addresses = (node.get("status") or {}).get("addresses") or ()
    address = next((each["address"] for each in addresses if each["type"] == "InternalIP"), "")
    if not pod_cidr or not address or IPv4Address(address) in IPv4Network(pod_cidr):
        return None
    return pod_cidr, address


def _route(node: Object, way: tuple[str, str]) -> Object:
    meta = node["metadata"]
    identity = {"name": meta["name"], "uid": meta.get("uid", ""), "resourceVersion": " ".join(way)}
    return {
        "apiVersion": "kubemu.dev/v1",
        "kind": "NodeRoute",
        "metadata": identity,
        "podCIDR": way[0],
        "address": way[1],
    }


def _seen(pod: Object) -> tuple[Any, ...]:
    status = pod.get("status") or {}
    return pod["metadata"].get("labels"), status.get("podIP"), status.get("phase") in ("Succeeded", "Failed")


def _key(obj: Object) -> Key:
    return Key(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


class World:
    """Pods by namespace, and the namespaces' labels, at one moment."""

    def __init__(self, namespaces: dict[str, dict[str, str]], pods: dict[str, list[Pod]]) -> None:
        self.namespaces = namespaces
        self.pods = pods

    @classmethod
    def of(cls, store: Store) -> World:
        pods: dict[str, list[Pod]] = {}
        for entry in store.list("pods", ""):
            pod = entry.object
            _, ip, finished = _seen(pod)
            if ip and not finished and not pod["spec"].get("hostNetwork"):
                known = Pod(ip, pod["metadata"].get("labels") or {}, dict(_ports_of(pod)))
                pods.setdefault(entry.key.namespace, []).append(known)
        spaces = store.list("namespaces", "")
        return cls({e.key.name: e.object["metadata"].get("labels") or {} for e in spaces}, pods)

    def select(self, namespaces: Iterable[str], selector: LabelSelector) -> list[Pod]:
        return [
            pod
            for namespace in namespaces
            for pod in self.pods.get(namespace, ())
            if selector.matches(pod.labels)
        ]


def _ports_of(pod: Object) -> Iterator[tuple[tuple[str, str], int]]:
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or ():
            if port.get("name"):
                yield (port.get("protocol", "TCP"), port["name"]), port["containerPort"]


def traffic_rules(policy: Object, world: World) -> Object:
    """The policy with its selectors resolved; see `agents.services.policy`."""
    meta, spec = policy["metadata"], policy["spec"]
    namespace = meta["namespace"]
    subject = world.select([namespace], of_object_form(spec.get("podSelector") or {}))
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    body: Object = {"pods": [pod.ip for pod in subject], "ingress": None, "egress": None}
    if "Ingress" in types:
        body["ingress"] = [
            _rule(rule, "from", namespace, world, targets=subject) for rule in spec.get("ingress") or ()
        ]
    if "Egress" in types:
        body["egress"] = [
            _rule(rule, "to", namespace, world, targets=None) for rule in spec.get("egress") or ()
        ]
    version = hashlib.blake2b(orjson.dumps(body), digest_size=8).hexdigest()
    identity = {
        "namespace": namespace, "name": meta["name"], "uid": meta.get("uid", ""), "resourceVersion": version,
    }  # fmt: skip
    return {"apiVersion": "kubemu.dev/v1", "kind": "TrafficRules", "metadata": identity, **body}


def _rule(rule: Object, side: str, namespace: str, world: World, *, targets: Sequence[Pod] | None) -> Object:
    """`targets`: the pods whose ports the rule speaks of; None: those of its peers."""
    peers: dict[str, Pod] = {}
    blocks = []
    for peer in rule.get(side) or ():
        if "ipBlock" in peer:
            blocks.append([peer["ipBlock"]["cidr"], peer["ipBlock"].get("except") or []])
            continue
        for pod in _peers(peer, namespace, world):
            peers[pod.ip] = pod
    anyone = not rule.get(side)
    if targets is None:
        everyone = [pod for pods in world.pods.values() for pod in pods]
        targets = everyone if anyone else list(peers.values())
    ports = [_port(port, targets) for port in rule.get("ports") or ()]
    return {"anyone": anyone, "pods": list(peers), "blocks": blocks, "ports": ports}


def _peers(peer: Object, namespace: str, world: World) -> list[Pod]:
    pods = of_object_form(peer.get("podSelector") or {})
    if peer.get("namespaceSelector") is None:
        return world.select([namespace], pods)
    chosen = of_object_form(peer["namespaceSelector"])
    return world.select([name for name, labels in world.namespaces.items() if chosen.matches(labels)], pods)


def _port(port: Object, targets: Sequence[Pod]) -> Object:
    protocol, number = port.get("protocol", "TCP"), port.get("port")
    if isinstance(number, str):
        named = {pod.ip: pod.ports[protocol, number] for pod in targets if (protocol, number) in pod.ports}
        return {"protocol": protocol, "first": 0, "last": 0, "named": named}
    first = number or 0
    return {"protocol": protocol, "first": first, "last": port.get("endPort") or first}
