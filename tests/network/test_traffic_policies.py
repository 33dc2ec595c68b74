"""NetworkPolicies: from selectors to addresses, and from those to verdicts about connections."""

from __future__ import annotations

from typing import Any

import pytest

from agents.services.policy import Policies
from broker.chance import Chance
from cluster.api.objects import Key, Object
from cluster.server.gateway.derived import Pod, World, traffic_rules

WEB, DB, CLIENT, OTHER = "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.1"
SPACES = {"default": {"name": "default"}, "team": {"name": "team", "trusted": "yes"}}
OUTSIDE, NODE = "192.0.2.9", "10.0.0.254"
PODS = {
    WEB: ("default", {"app": "web"}, [("http", 8080)]),
    DB: ("default", {"app": "db"}, [("sql", 5432)]),
    CLIENT: ("default", {"app": "client"}, []),
    OTHER: ("team", {"app": "client"}, []),
}


def world() -> World:
    """The pods above."""
    pods: dict[str, list[Pod]] = {}
    for ip, (namespace, labels, ports) in PODS.items():
        known = Pod(ip, labels, {("TCP", name): number for name, number in ports})
        pods.setdefault(namespace, []).append(known)
    return World(SPACES, pods)


def make_policy(name: str = "p", **spec: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"podSelector": {}, **spec}}


def policies(*objects: Object) -> Policies:
    known = Policies()
    known.exempt[NODE] = None
    for policy in objects:
        known.put(traffic_rules(policy, world()))
    return known


def select(**labels: str) -> Object:
    return {"matchLabels": labels}


PEERS = {"web": WEB, "db": DB, "client": CLIENT, "other": OTHER, "outside": OUTSIDE, "node": NODE}
DENY = make_policy(policyTypes=["Ingress"])
ONTO_WEB: Any = {"podSelector": select(app="web")}
INGRESS = {
    "no policy": ([], "web db client other outside node"),
    "default deny": ([DENY], "node"),
    "same namespace": (
        [make_policy(**ONTO_WEB, ingress=[{"from": [{"podSelector": {}}]}])],
        "web db client node",
    ),
    "by pod": (
        [make_policy(**ONTO_WEB, ingress=[{"from": [{"podSelector": select(app="client")}]}])],
        "client node",
    ),
    "by namespace": (
        [make_policy(**ONTO_WEB, ingress=[{"from": [{"namespaceSelector": select(trusted="yes")}]}])],
        "other node",
    ),
    "by pod in any namespace": (
        [
            make_policy(
                **ONTO_WEB,
                ingress=[{"from": [{"namespaceSelector": {}, "podSelector": select(app="client")}]}],
            )
        ],
        "client other node",
    ),
    "by block with a hole": (
        [
            make_policy(
                **ONTO_WEB, ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/24", "except": [f"{DB}/32"]}}]}]
            )
        ],
        "web client node",
    ),
    "everyone": ([DENY, make_policy("q", **ONTO_WEB, ingress=[{}])], "web db client other outside node"),
    "two policies add up": (
        [
            make_policy(**ONTO_WEB, ingress=[{"from": [{"podSelector": select(app="db")}]}]),
            make_policy("q", **ONTO_WEB, ingress=[{"from": [{"podSelector": select(app="client")}]}]),
        ],
        "db client node",
    ),
    "on another pod": ([make_policy(podSelector=select(app="db"))], "web db client other outside node"),
}


@pytest.mark.parametrize("case", list(INGRESS))
def test_who_reaches_a_pod(case: str) -> None:
    objects, wanted = INGRESS[case]
    known = policies(*objects)
    seen = [name for name, ip in PEERS.items() if known.permits(ip, WEB, "TCP", 8080)]
    assert seen == wanted.split()


PORTS = {
    "by number": ({"port": 8080}, [8080]),
    "by name": ({"port": "http"}, [8080]),
    "by a name that is not there": ({"port": "sql"}, []),
    "a range": ({"port": 8000, "endPort": 8100}, [8080, 8100]),
    "all of a protocol": ({"protocol": "TCP"}, [80, 8080, 8100]),
    "of another protocol": ({"protocol": "UDP", "port": 8080}, []),
}


@pytest.mark.parametrize("case", list(PORTS))
def test_ports(case: str) -> None:
    port, wanted = PORTS[case]
    known = policies(make_policy(**ONTO_WEB, ingress=[{"ports": [port]}]))
    assert [number for number in (80, 8080, 8100) if known.permits(CLIENT, WEB, "TCP", number)] == wanted


EGRESS = {
    "deny all": ([], []),
    "to a pod's named port": (
        [{"to": [{"podSelector": select(app="db")}], "ports": [{"port": "sql"}]}],
        [(DB, 5432)],
    ),
    "to outside": ([{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}], [(OUTSIDE, 443)]),
}


@pytest.mark.parametrize("case", list(EGRESS))
def test_where_a_pod_may_go(case: str) -> None:
    rules, wanted = EGRESS[case]
    known = policies(make_policy(**ONTO_WEB, policyTypes=["Egress"], egress=rules))
    targets = [(DB, 5432), (DB, 80), (CLIENT, 80), (OUTSIDE, 443)]
    assert [target for target in targets if known.permits(WEB, target[0], "TCP", target[1])] == wanted
    assert known.permits(CLIENT, WEB, "TCP", 80)


def test_a_deleted_policy_forbids_nothing() -> None:
    known = policies(DENY)
    known.drop(Key("default", "p"))
    assert known.permits(CLIENT, WEB, "TCP", 8080)


def test_random_policies_agree_with_the_words_of_the_api() -> None:
    """An independent reading of the specification, over many drawn policies and all pairs of addresses."""
    chance = Chance(7)
    for _ in range(150):
        drawn = [_draw(chance, f"p{n}") for n in range(chance.below(4))]
        known = policies(*drawn)
        for source in PODS:
            for target in PODS:
                assert known.permits(source, target, "TCP", 8080) is _plainly(drawn, source, target), drawn


def _draw(chance: Chance, name: str) -> Object:
    labels = chance.choice([{}, select(app="web"), select(app="client")])
    peers: list[Object] = [
        {"podSelector": select(app="client")},
        {"namespaceSelector": select(trusted="yes")},
        {"namespaceSelector": {}, "podSelector": select(app="db")},
    ]
    rules = [{}, {"from": [chance.choice(peers)]}, {"from": peers[:2]}]
    outward = [{}, {"to": [chance.choice(peers)]}]
    types = chance.choice([["Ingress"], ["Egress"], ["Ingress", "Egress"]])
    return make_policy(
        name,
        podSelector=labels,
        policyTypes=types,
        ingress=[chance.choice(rules) for _ in range(chance.below(3))],
        egress=[chance.choice(outward) for _ in range(chance.below(3))],
    )


def _matches(selector: Object, labels: dict[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())


def _plainly(drawn: list[Object], source: str, target: str) -> bool:
    return _open(drawn, "Egress", "egress", "to", source, target) and _open(
        drawn, "Ingress", "ingress", "from", target, source
    )


def _open(drawn: list[Object], kind: str, field: str, side: str, subject: str, peer: str) -> bool:
    namespace, labels, _ = PODS[subject]
    mine = [
        p["spec"]
        for p in drawn
        if kind in p["spec"]["policyTypes"]
        and namespace == p["metadata"]["namespace"]
        and _matches(p["spec"]["podSelector"], labels)
    ]
    if not mine:
        return True
    return any(
        not rule.get(side) or any(_peer(entry, peer) for entry in rule[side])
        for spec in mine
        for rule in spec[field]
    )


def _peer(entry: Object, ip: str) -> bool:
    namespace, labels, _ = PODS[ip]
    inside = (
        _matches(entry["namespaceSelector"], SPACES[namespace])
        if "namespaceSelector" in entry
        else namespace == "default"
    )
    return inside and _matches(entry.get("podSelector") or {}, labels)
