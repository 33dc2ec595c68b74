"""What all nodes need to know and no object says: resolved policies, certificates of Ingresses, routes.

NetworkPolicies are resolved in `policyworld`, which follows pods and namespaces as long as there are any;
without policies those cost nothing. Changes in a burst are collected for a moment, and `Sharing.tell` sends
only what is different then.

Where nodes have addresses of their own, each is told the way to the others' pods (`NodeRoute`: a pod range
and the node's address), which is all that the routed network needs to know of a Node. A node's zone
(`NodeZone`) is for Services that keep their traffic in it.

The Secrets that Ingresses name for TLS go to every node, because each runs an ingress proxy; other Secrets
only go where a pod needs them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from cluster.api.client import EventType
from cluster.api.objects import Key, Object
from cluster.server.gateway.policyworld import Pod, PolicyWorld, pod_of
from cluster.server.gateway.sharing import Sharing
from cluster.store.entry import Change
from cluster.store.store import Store

SPACING_S = 0.05
"""How long changes are collected that come soon after others were told."""
POLICIES = "networkpolicies.networking.k8s.io"
DNS = Key("kube-system", "kube-dns")
OTHERS = ("Secret", "NodeRoute", "NodeZone")
"""Kinds that are worked out from scratch whenever any of them changes."""
INGRESSES = "ingresses.networking.k8s.io"


class Derived:
    """`share`: there is something new to send."""

    def __init__(self, store: Store, sharing: Sharing, share: Callable[[], None]) -> None:
        self._store = store
        self._sharing = sharing
        self._share = share
        self._told: dict[tuple[str, Key], Object] = {}
        self._secrets: dict[Key, None] = {}
        self._policies: PolicyWorld | None = None
        """None while there is no policy."""
        self._others_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._settled_at = -SPACING_S

    def load(self) -> None:
        """Starts from what the store holds."""
        for entry in self._store.list(POLICIES, ""):
            self._on_policy(entry.key, entry.object)
        self._others_due = True
        self._soon()

    def apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._apply(change)
        if self._timer is None and (self._others_due or (self._policies and self._policies.changed)):
            self._soon()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _apply(self, change: Change) -> None:
        qualified, key = change.entry.qualified, change.entry.key
        obj = None if change.type is EventType.DELETED else change.entry.object
        before = change.previous.object if change.previous is not None else None
        match qualified:
            case "pods":
                news = obj is None or before is None or _seen(before) != _seen(obj)
                if self._policies is not None and news:
                    self._policies.set_pod(*key, pod_of(obj) if obj is not None else None)
            case "networkpolicies.networking.k8s.io":
                self._on_policy(key, obj)
            case "ingresses.networking.k8s.io":
                self._others_due = True
            case "secrets":
                self._others_due = self._others_due or key in self._secrets
            case "nodes":
                if obj is None or before is None or _place(before) != _place(obj):
                    self._others_due = True
            case "namespaces":
                if self._policies is not None:
                    labels = (obj["metadata"].get("labels") or {}) if obj is not None else None
                    self._policies.set_namespace(key.name, labels)
            case "services":
                if self._policies is not None and key == DNS:
                    self._policies.set_pod(*DNS, _dns_pod(obj))

    def _on_policy(self, key: Key, policy: Object | None) -> None:
        if self._policies is None:
            self._policies = self._world()
        self._policies.set_policy(key, policy)

    def _world(self) -> PolicyWorld:
        """Everything that policies speak of, as it is now."""
        world = PolicyWorld()
        for entry in self._store.list("namespaces", ""):
            world.set_namespace(entry.key.name, entry.object["metadata"].get("labels") or {})
        for entry in self._store.list("pods", ""):
            world.set_pod(*entry.key, pod_of(entry.object))
        dns = self._store.get("services", DNS)
        world.set_pod(*DNS, _dns_pod(dns.object if dns is not None else None))
        return world

    def _soon(self) -> None:
        """A first change is told at once: a policy is in force before a pod that comes after it runs."""
        loop = asyncio.get_running_loop()
        wait_s = max(0.0, self._settled_at + SPACING_S - loop.time())
        self._timer = loop.call_later(wait_s, self._settle)

    def _settle(self) -> None:
        self._timer = None
        self._settled_at = asyncio.get_running_loop().time()
        if self._policies is not None:
            self._tell_policies(self._policies)
        if self._others_due:
            self._others_due = False
            self._tell_others()
        self._share()

    def _tell_policies(self, world: PolicyWorld) -> None:
        changed, world.changed = world.changed, {}
        for identity in changed:
            obj = world.told(identity)
            if obj is not None:
                self._sharing.tell(obj)
                self._told[identity] = obj
            elif identity in self._told:
                self._sharing.withdraw(self._told.pop(identity))
        if world.empty:
            self._policies = None

    def _tell_others(self) -> None:
        found = {**self._certificates(), **self._routes(), **self._zones()}
        for identity, obj in found.items():
            self._sharing.tell(obj)
            self._told[identity] = obj
        gone = [told for told in self._told if told[0] in OTHERS and told not in found]
        for identity in gone:
            self._sharing.withdraw(self._told.pop(identity))

    def _routes(self) -> dict[tuple[str, Key], Object]:
        nodes = [entry.object for entry in self._store.list("nodes", "")]
        ways = [(node, way) for node in nodes if (way := _way(node)) is not None]
        return {("NodeRoute", _key(node)): _route(node, way) for node, way in ways}

    def _zones(self) -> dict[tuple[str, Key], Object]:
        nodes = [entry.object for entry in self._store.list("nodes", "")]
        zones = ((node, _zone(node)) for node in nodes)
        return {("NodeZone", _key(node)): _node_zone(node, zone) for node, zone in zones if zone}

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


def _zone(node: Object) -> str:
    labels: dict[str, str] = node["metadata"].get("labels") or {}
    return labels.get("topology.kubernetes.io/zone", "")


def _place(node: Object) -> tuple[Any, ...]:
    return _way(node), _zone(node)


def _node_zone(node: Object, zone: str) -> Object:
    meta = node["metadata"]
    identity = {"name": meta["name"], "uid": meta.get("uid", ""), "resourceVersion": zone}
    return {"apiVersion": "kubemu.dev/v1", "kind": "NodeZone", "metadata": identity, "zone": zone}


def _dns_pod(service: Object | None) -> Pod | None:
    """What policies may allow as the pods of the cluster's DNS, while the agents themselves are the DNS."""
    if service is None or service["spec"].get("selector"):
        return None
    labels = {"k8s-app": service["metadata"]["name"]}
    return Pod(service["spec"].get("clusterIP", ""), labels, {"UDP/dns": 53, "TCP/dns-tcp": 53})


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
