"""NetworkPolicies: from selectors to addresses, and from those to verdicts about connections."""

from __future__ import annotations

from typing import Any

import pytest

from agents.services.policy import Policies
from broker.chance import Chance
from cluster.api.objects import Key, Object
from cluster.server.gateway.policyworld import Pod, PolicyWorld

WEB, DB, CLIENT, OTHER = "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.1"
SPACES = {"default": {"name": "default"}, "team": {"name": "team", "trusted": "yes"}}
OUTSIDE, NODE = "192.0.2.9", "10.0.0.254"
PODS = {
    WEB: ("default", {"app": "web"}, [("http", 8080)]),
    DB: ("default", {"app": "db"}, [("sql", 5432)]),
    CLIENT: ("default", {"app": "client"}, []),
    OTHER: ("team", {"app": "client"}, []),
}


def world() -> PolicyWorld:
    """The pods above."""
    made = PolicyWorld()
    for name, labels in SPACES.items():
        made.set_namespace(name, labels)
    for ip in PODS:
        made.set_pod(PODS[ip][0], ip, pod(ip))
    return made


def pod(ip: str, **labels: str) -> Pod:
    _, own, ports = PODS[ip]
    return Pod(ip, {**own, **labels}, {f"TCP/{name}": number for name, number in ports})


def tell(known: Policies, world: PolicyWorld) -> list[tuple[str, Key]]:
    """What changed goes to the node, as the gateway sends it."""
    changed, world.changed = list(world.changed), {}
    for kind, key in changed:
        known.take(kind, key, world.told((kind, key)))
    return changed


def make_policy(name: str = "p", **spec: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"podSelector": {}, **spec}}


def policies(*objects: Object) -> Policies:
    known, made = Policies(), world()
    known.exempt[NODE] = None
    for policy in objects:
        made.set_policy(Key("default", policy["metadata"]["name"]), policy)
    tell(known, made)
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
    assert [name for name in seen if name != "web"] == [name for name in wanted.split() if name != "web"]
    assert "web" in seen, "a pod can't be kept from itself"


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
    known.take("TrafficRules", Key("default", "p"), None)
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
    return source == target or (
        _open(drawn, "Egress", "egress", "to", source, target)
        and _open(drawn, "Ingress", "ingress", "from", target, source)
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


def test_changes_of_pods_and_namespaces_reach_the_verdict_in_small_pieces() -> None:
    """A policy that admits by labels, while labels, addresses and namespaces change one after another."""
    made, known = world(), Policies()
    peers: list[Object] = [
        {"podSelector": select(app="client")},
        {"namespaceSelector": select(trusted="yes"), "podSelector": {}},
    ]
    made.set_policy(Key("default", "p"), make_policy(**ONTO_WEB, ingress=[{"from": peers}]))
    tell(known, made)

    def who() -> list[str]:
        return [name for name in ("db", "client", "other") if known.permits(PEERS[name], WEB, "TCP", 80)]

    assert who() == ["client", "other"]
    made.set_pod("default", DB, pod(DB, app="client"))
    changed = tell(known, made)
    assert [kind for kind, _ in changed] == ["PodSet"]
    assert who() == ["db", "client", "other"]
    made.set_pod("default", CLIENT, None)
    made.set_namespace("team", {"name": "team"})
    tell(known, made)
    assert who() == ["db"]
    made.set_namespace("team", {"name": "team", "trusted": "yes"})
    made.set_pod("default", WEB, None)
    made.set_pod("team", "stray", Pod(CLIENT, {}, {}))
    tell(known, made)
    assert known.permits(OUTSIDE, WEB, "TCP", 80), "no pod of the policy has this address now"
    made.set_pod("default", WEB, pod(WEB))
    tell(known, made)
    assert who() == ["db", "client", "other"]


def test_an_address_that_went_on_to_another_pod_stays_with_it() -> None:
    """The end of the former pod is heard after the start of the next one."""
    made, known = world(), Policies()
    made.set_policy(Key("default", "p"), make_policy(**ONTO_WEB))
    made.set_pod("default", "next", Pod(WEB, {"app": "web"}, {}))
    made.set_pod("default", WEB, None)
    tell(known, made)
    assert not known.permits(CLIENT, WEB, "TCP", 80)


def test_a_policy_that_goes_takes_its_sets_along() -> None:
    made = world()
    key = Key("default", "p")
    made.set_policy(key, make_policy(ingress=[{"from": [{"namespaceSelector": {}}]}]))
    told = {identity for identity in made.changed if made.told(identity)}
    assert {kind for kind, _ in told} == {"PodSet", "TrafficRules"}
    made.changed.clear()
    made.set_policy(key, None)
    assert set(made.changed) == told
    assert not any(made.told(identity) for identity in told)
    assert made.empty


def test_egress_to_a_named_port_of_anyone() -> None:
    known = policies(make_policy(**ONTO_WEB, policyTypes=["Egress"], egress=[{"ports": [{"port": "sql"}]}]))
    assert known.permits(WEB, DB, "TCP", 5432)
    assert not known.permits(WEB, DB, "TCP", 5433)
    assert not known.permits(WEB, OUTSIDE, "TCP", 5432)
