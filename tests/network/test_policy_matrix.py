"""The matrix that NetworkPolicies are judged by: three namespaces of three pods, who reaches whom, where.

Each case lists policies and says, in a line of Python, which connections are open; all 9 x 9 x 4 of them are
compared. Cases that change something do it step by step on one world, as a running cluster does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agents.services.policy import Policies
from cluster.api.objects import Key, Object
from cluster.server.gateway.policyworld import Pod, PolicyWorld

SPACES, NAMES = "xyz", "abc"
PODS = [f"{space}/{name}" for space in SPACES for name in NAMES]
PORTS = [("TCP", 80), ("TCP", 81), ("UDP", 80), ("UDP", 81)]
NAMED = {f"{protocol}/serve-{number}-{protocol.lower()}": number for protocol, number in PORTS}
Open = Callable[[str, str, str, int], bool]
"""Of source, target, protocol and port."""


def ip_of(pod: str) -> str:
    return f"10.0.{SPACES.index(pod[0])}.{NAMES.index(pod[2]) + 1}"


class Cluster:
    """The nine pods, the control plane's view of them, and a node's."""

    def __init__(self) -> None:
        self.world = PolicyWorld()
        self.node = Policies()
        for space in SPACES:
            self.label_space(space, ns=space)
        for pod in PODS:
            self.label(pod, pod=pod[2])

    def label_space(self, space: str, **labels: str) -> None:
        self.world.set_namespace(space, {"kubernetes.io/metadata.name": space, **labels})

    def label(self, whose: str, **labels: str) -> None:
        self.world.set_pod(whose[0], whose, Pod(ip_of(whose), labels, NAMED))

    def apply(self, *policies: Object) -> None:
        for policy in policies:
            meta = policy["metadata"]
            self.world.set_policy(Key(meta["namespace"], meta["name"]), policy)

    def delete(self, policy: Object) -> None:
        meta = policy["metadata"]
        self.world.set_policy(Key(meta["namespace"], meta["name"]), None)

    def expect(self, is_open: Open) -> None:
        changed, self.world.changed = self.world.changed, {}
        for kind, key in changed:
            self.node.take(kind, key, self.world.told((kind, key)))
        wrong = [
            f"{source} → {target} {protocol} {port}: {'open' if not wanted else 'closed'}"
            for source in PODS
            for target in PODS
            for protocol, port in PORTS
            if (wanted := source == target or is_open(source, target, protocol, port))
            is not self.node.permits(ip_of(source), ip_of(target), protocol, port)
        ]
        assert wrong == []


def policy(space: str = "x", name: str = "p", pods: Object | None = None, **spec: Any) -> Object:
    types = [kind for kind in ("Ingress", "Egress") if kind.lower() in spec]
    body = {"podSelector": pods or {}, "policyTypes": types, **spec}
    return {"metadata": {"namespace": space, "name": name}, "spec": body}


def labels(**wanted: str) -> Object:
    return {"matchLabels": wanted}


def expression(key: str, operator: str, *values: str) -> Object:
    return {
        "matchExpressions": [{"key": key, "operator": operator, **({"values": [*values]} if values else {})}]
    }


def pods(selector: Object) -> Object:
    return {"podSelector": selector}


def spaces(selector: Object) -> Object:
    return {"namespaceSelector": selector}


def ports(*wanted: Any, protocol: str = "TCP", **more: Any) -> list[Object]:
    return [{"protocol": protocol, "port": port, **more} for port in wanted]


A: Object = labels(pod="a")
DENY_X = policy(name="deny", ingress=[])
CASES: dict[str, tuple[list[Object], Open]] = {
    "no policy": ([], lambda s, t, proto, port: True),
    "default deny ingress": ([DENY_X], lambda s, t, proto, port: t[0] != "x"),
    "default deny egress": ([policy(egress=[])], lambda s, t, proto, port: s[0] != "x"),
    "default deny all": (
        [policy(ingress=[], egress=[])],
        lambda s, t, proto, port: s[0] != "x" and t[0] != "x",
    ),
    "allow all": ([DENY_X, policy(ingress=[{}])], lambda s, t, proto, port: True),
    "from a pod of the namespace": (
        [policy(pods=A, ingress=[{"from": [pods(labels(pod="b"))]}])],
        lambda s, t, proto, port: t != "x/a" or s == "x/b",
    ),
    "from a namespace": (
        [policy(pods=A, ingress=[{"from": [spaces(labels(ns="y"))]}])],
        lambda s, t, proto, port: t != "x/a" or s[0] == "y",
    ),
    "from a namespace by its name": (
        [policy(ingress=[{"from": [spaces(expression("kubernetes.io/metadata.name", "NotIn", "x", "y"))]}])],
        lambda s, t, proto, port: t[0] != "x" or s[0] == "z",
    ),
    "from pods by expressions": (
        [policy(pods=A, ingress=[{"from": [pods(expression("pod", "In", "b"))]}])],
        lambda s, t, proto, port: t != "x/a" or s == "x/b",
    ),
    "from pods that have no label": (
        [policy(ingress=[{"from": [pods(expression("other", "DoesNotExist"))]}])],
        lambda s, t, proto, port: t[0] != "x" or s[0] == "x",
    ),
    "namespace and pod together": (
        [policy(ingress=[{"from": [spaces(expression("ns", "NotIn", "x")) | pods(expression("pod", "In", "b"))]}])],
        lambda s, t, proto, port: t[0] != "x" or s in ("y/b", "z/b"),
    ),
    "namespace or pod": (
        [policy(ingress=[{"from": [spaces(labels(ns="y")), pods(labels(pod="b"))]}])],
        lambda s, t, proto, port: t[0] != "x" or s[0] == "y" or s == "x/b",
    ),
    "any namespace, some pods": (
        [policy(ingress=[{"from": [spaces({}) | pods(labels(pod="c"))]}])],
        lambda s, t, proto, port: t[0] != "x" or s[2] == "c",
    ),
    "a port": (
        [policy(pods=A, ingress=[{"ports": ports(81)}])],
        lambda s, t, proto, port: t != "x/a" or (proto, port) == ("TCP", 81),
    ),
    "two policies stacked, a port each": (
        [
            policy(name="one", pods=A, ingress=[{"from": [spaces(labels(ns="y"))], "ports": ports(80)}]),
            policy(name="two", pods=A, ingress=[{"from": [spaces(labels(ns="z"))], "ports": ports(81)}]),
        ],
        lambda s, t, proto, port: t != "x/a" or (s[0], proto, port) in (("y", "TCP", 80), ("z", "TCP", 81)),
    ),
    "peers and ports of one rule hold together": (
        [policy(ingress=[{"from": [spaces(labels(ns="y"))], "ports": ports(81)}])],
        lambda s, t, proto, port: t[0] != "x" or (s[0], proto, port) == ("y", "TCP", 81),
    ),
    "a named port": (
        [policy(pods=A, ingress=[{"ports": ports("serve-81-tcp")}])],
        lambda s, t, proto, port: t != "x/a" or (proto, port) == ("TCP", 81),
    ),
    "a named port outward": (
        [policy(pods=A, egress=[{"ports": ports("serve-80-udp", protocol="UDP")}])],
        lambda s, t, proto, port: s != "x/a" or (proto, port) == ("UDP", 80),
    ),
    "a named port of another protocol": (
        [policy(pods=A, ingress=[{"ports": ports("serve-81-udp")}])],
        lambda s, t, proto, port: t != "x/a",
    ),
    "a range of ports": (
        [policy(pods=A, egress=[{"ports": ports(81, endPort=90)}])],
        lambda s, t, proto, port: s != "x/a" or (proto, port) == ("TCP", 81),
    ),
    "a protocol": (
        [policy(ingress=[{"ports": [{"protocol": "UDP"}]}])],
        lambda s, t, proto, port: t[0] != "x" or proto == "UDP",
    ),
    "outward to a namespace": (
        [policy(pods=A, egress=[{"to": [spaces(labels(ns="y"))]}])],
        lambda s, t, proto, port: s != "x/a" or t[0] == "y",
    ),
    "both ways": (
        [
            policy(pods=A, egress=[{"to": [spaces(labels(ns="y"))]}]),
            policy("y", ingress=[{"from": [spaces({}) | pods(A)]}]),
        ],
        lambda s, t, proto, port: (s != "x/a" or t[0] == "y") and (t[0] != "y" or s[2] == "a"),
    ),
    "a block": (
        [policy(pods=A, egress=[{"to": [{"ipBlock": {"cidr": f"{ip_of('y/b')}/32"}}]}])],
        lambda s, t, proto, port: s != "x/a" or t == "y/b",
    ),
    "a block with a hole": (
        [policy(pods=A, egress=[{"to": [{"ipBlock": {"cidr": "10.0.1.0/24", "except": [f"{ip_of('y/b')}/32"]}}]}])],
        lambda s, t, proto, port: s != "x/a" or t in ("y/a", "y/c"),
    ),
    "a hole that another rule fills": (
        [
            policy(pods=A, egress=[{"to": [{"ipBlock": {"cidr": "10.0.1.0/24", "except": ["10.0.1.2/32"]}}]}]),
            policy(name="q", pods=A, egress=[{"to": [{"ipBlock": {"cidr": "10.0.1.2/32"}}]}]),
        ],
        lambda s, t, proto, port: s != "x/a" or t[0] == "y",
    ),
    "from a block": (
        [policy(ingress=[{"from": [{"ipBlock": {"cidr": "10.0.2.0/24"}}]}])],
        lambda s, t, proto, port: t[0] != "x" or s[0] == "z",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
def test_who_reaches_whom(case: str) -> None:
    policies, is_open = CASES[case]
    cluster = Cluster()
    cluster.apply(*policies)
    cluster.expect(is_open)


def test_a_policy_is_updated_and_deleted() -> None:
    cluster = Cluster()
    cluster.apply(policy(ingress=[{}]))
    cluster.expect(lambda s, t, proto, port: True)
    cluster.apply(policy(ingress=[]))
    cluster.expect(lambda s, t, proto, port: t[0] != "x")
    cluster.apply(policy(pods=A, ingress=[{"ports": ports(80)}]))
    cluster.expect(lambda s, t, proto, port: t != "x/a" or (proto, port) == ("TCP", 80))
    cluster.delete(policy())
    cluster.expect(lambda s, t, proto, port: True)


def test_labels_of_pods_and_namespaces_change() -> None:
    cluster = Cluster()
    cluster.apply(
        policy(pods=A, ingress=[{"from": [spaces(labels(team="blue")) | pods(labels(role="friend"))]}])
    )
    cluster.expect(lambda s, t, proto, port: t != "x/a")
    cluster.label_space("y", ns="y", team="blue")
    cluster.label("y/b", pod="b", role="friend")
    cluster.expect(lambda s, t, proto, port: t != "x/a" or s == "y/b")
    cluster.label("x/b", pod="a")
    cluster.expect(lambda s, t, proto, port: t not in ("x/a", "x/b") or s == "y/b")
    cluster.label("x/a", pod="none")
    cluster.label_space("y", ns="y")
    cluster.label_space("z", ns="z", team="blue")
    cluster.label("z/c", pod="c", role="friend")
    cluster.expect(lambda s, t, proto, port: t != "x/b" or s == "z/c")


def test_pods_come_and_go() -> None:
    cluster = Cluster()
    cluster.apply(policy(ingress=[{"from": [pods({})]}]))
    cluster.expect(lambda s, t, proto, port: t[0] != "x" or s[0] == "x")
    cluster.world.set_pod("x", "x/c", None)
    cluster.world.set_pod("y", "took its address", Pod(ip_of("x/c"), {}, {}))
    cluster.expect(lambda s, t, proto, port: t not in ("x/a", "x/b") or s in ("x/a", "x/b"))
