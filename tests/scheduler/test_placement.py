"""Filters and scores of the default profile, one rule at a time, and Kubernetes' words for refusals."""

from __future__ import annotations

from typing import Any

import pytest
from scheduled import HOST, ZONE, Scene, node, pod

from broker.chance import Chance
from cluster.api.selectors import of_map
from cluster.scheduler.plugins import topology_spread
from cluster.scheduler.templates import Templates

WEB = {"matchLabels": {"app": "web"}}
LABELS = {"app": "web"}


def _affinity(kind: str, key: str = HOST, **selector: Any) -> dict[str, Any]:
    term = {"labelSelector": selector or WEB, "topologyKey": key}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


@pytest.mark.parametrize(
    ("nodes", "placed", "wanted", "message"),
    [
        pytest.param([], [], pod("p"), "no nodes available to schedule pods", id="no nodes"),
        pytest.param(
            [node("a", cpu="1"), node("b", cpu="1")],
            [],
            pod("p", cpu="2"),
            "0/2 nodes are available: 2 Insufficient cpu.",
            id="too big",
        ),
        pytest.param(
            [node("a", pods="1")],
            [pod("x", on="a")],
            pod("p"),
            "0/1 nodes are available: 1 Too many pods.",
            id="too many",
        ),
        pytest.param(
            [
                node("a"),
                node("b", cpu="1"),
                node("c", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}]),
            ],
            [],
            pod("p", cpu="2", nodeSelector={HOST: "b"}),
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector, "
            "1 node(s) had untolerated taint(s).",
            id="each its own reason",
        ),
        pytest.param(
            [node("a")],
            [pod("x", on="a", containers=[{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}]}])],
            pod("p", containers=[{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}]}]),
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.",
            id="host port taken",
        ),
        pytest.param(
            [node("a"), node("b")],
            [],
            pod("p", affinity=_affinity("podAffinity")),
            "0/2 nodes are available: 2 node(s) didn't match pod affinity rules.",
            id="nobody to be near",
        ),
        pytest.param(
            [node("a")],
            [pod("x", on="a", labels=LABELS)],
            pod("p", affinity=_affinity("podAntiAffinity")),
            "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.",
            id="anti-affinity of its own",
        ),
        pytest.param(
            [node("a")],
            [pod("x", on="a", affinity=_affinity("podAntiAffinity"))],
            pod("p", labels=LABELS),
            "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules.",
            id="anti-affinity of another",
        ),
        pytest.param(
            [node("a")],
            [],
            pod("p", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]),
            '0/1 nodes are available: persistentvolumeclaim "data" not found.',
            id="no claim",
        ),
    ],
)
def test_a_pod_that_fits_nowhere_says_why(nodes: Any, placed: Any, wanted: Any, message: str) -> None:
    decision = Scene(*nodes).placed(*placed).schedule(wanted)
    assert decision.node == ""
    assert decision.message() == message


def test_requests_are_those_of_the_larger_phase() -> None:
    """Init containers run one by one before the others; sidecars run all the time."""

    def container(cpu: str, **more: Any) -> dict[str, Any]:
        return {"name": "c", "resources": {"requests": {"cpu": cpu}}, **more}

    wanted = pod(
        "p",
        containers=[container("1"), container("500m")],
        initContainers=[container("3"), container("1", restartPolicy="Always"), container("1")],
        overhead={"cpu": "250m"},
    )
    assert wanted.requests == {"cpu": 3250}


def test_the_emptier_node_wins() -> None:
    scene = Scene(node("a"), node("b")).placed(pod("x", cpu="2", on="a"))
    assert scene.place(pod("p", cpu="1")) == ["b"]


def test_preferred_affinity_and_prefer_no_schedule_count() -> None:
    soft = [{"key": "k", "effect": "PreferNoSchedule"}]
    assert Scene(node("a", taints=soft), node("b")).place(pod("p")) == ["b"]
    preference = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
    wanted = {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": preference}]
        }
    }
    assert Scene(node("a"), node("b", disk="ssd")).place(pod("p", affinity=wanted)) == ["b"]


def test_a_group_that_wants_to_be_together_can_start() -> None:
    together = _affinity("podAffinity", ZONE)
    scene = Scene(node("a", zone="z1"), node("b", zone="z2"))
    places = scene.place(*(pod(f"p{i}", labels=LABELS, affinity=together) for i in range(4)))
    assert len(set(places)) == 1


def test_hard_spreading_keeps_the_skew() -> None:
    constraint = {
        "maxSkew": 1,
        "topologyKey": ZONE,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": WEB,
    }
    scene = Scene(node("a", zone="z1"), node("b", zone="z2", cpu="300m"))
    pods = [pod(f"p{i}", cpu="100m", labels=LABELS, topologySpreadConstraints=[constraint]) for i in range(8)]
    places = scene.place(*pods)
    assert places.count("b") == 3, "no more fit there"
    assert places.count("a") == 4, "one more than there"
    assert scene.schedule(pods[-1]).message() == (
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints."
    )


def test_pods_of_a_workload_spread_by_default() -> None:
    nodes = [node(f"n{i}", zone=f"z{i % 2}", cpu=f"{4 + i}") for i in range(4)]
    scene = Scene(*nodes, group=of_map(LABELS))
    places = scene.place(*(pod(f"p{i}", cpu="10m", labels=LABELS) for i in range(8)))
    assert sorted(places.count(f"n{i}") for i in range(4)) == [2, 2, 2, 2]


def test_an_explanation_names_every_node() -> None:
    scene = Scene(node("a"), node("b", taints=[{"key": "k", "effect": "NoExecute"}]))
    decision = scene.schedule(pod("p", cpu="1"), explain=True)
    assert decision.node == "a"
    assert set(decision.scores["a"]) >= {"NodeResourcesFit", "NodeResourcesBalancedAllocation"}
    assert decision.refusals["b"].plugin == "TaintToleration"


@pytest.mark.parametrize("seed", range(20))
def test_the_short_way_finds_a_node_as_good_as_the_long_way(seed: int) -> None:
    """On random clusters, with pods coming and going: what the buckets choose has the best score of all
    nodes, and they find no node exactly when there is none."""
    chance = Chance(seed)
    nodes = [
        node(f"n{i}", cpu=chance.choice(["1", "2", "4"]), zone=chance.choice(["", "z1", "z2"]))
        for i in range(chance.below(12) + 1)
    ]
    scene = Scene(*nodes, group=of_map(LABELS) if seed % 2 else None)
    templates = Templates(scene.snapshot, scene.profile, lambda pod: scene.group)
    placed = []
    for number in range(60):
        cpu = chance.choice(["100m", "300m"])
        wanted = pod(f"p{number}", cpu=cpu, labels=LABELS)
        quick, slow = templates.place(wanted), scene.schedule(wanted, explain=True)
        assert bool(quick) == bool(slow.node)
        if not quick:
            continue
        totals = {name: sum(scores.values()) for name, scores in slow.scores.items()}
        assert totals[quick] == max(totals.values())
        scene.snapshot.assume(wanted, quick, 0.0)
        placed.append(wanted.uid)
        if chance.random() < 0.3:
            scene.snapshot.remove(placed.pop(chance.below(len(placed))))
        if chance.random() < 0.1:
            scene.snapshot.set_node(node(f"n{chance.below(len(nodes))}", cpu=chance.choice(["1", "4"])))


@pytest.mark.parametrize("seed", range(10))
def test_nodes_in_closed_domains_are_passed_over_without_a_difference(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pods of two groups and two constraints on 200 nodes, some of them tight, some without a label: every
    pod goes where a search over all nodes would put it, and the next search starts at the same node."""
    chance = Chance(seed)
    nodes = [
        node(f"n{i}", cpu=str(1 + chance.below(3)), zone=f"z{chance.below(6)}" if chance.below(9) else "",
             rack=f"r{chance.below(12)}")
        for i in range(200)
    ]  # fmt: skip
    constraints = [
        {"maxSkew": 1 + n, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": WEB}
        for n, key in enumerate((ZONE, "rack"))
    ]
    spec = {"topologySpreadConstraints": constraints[: 1 + seed % 2]}
    wanted = [
        pod(f"p{i}", cpu="1", labels=LABELS if chance.below(3) else {"app": "other"}, **spec)
        for i in range(250)
    ]
    narrow, wide = Scene(*nodes), Scene(*nodes)
    found = [(where, narrow.snapshot.start) for each in wanted for where in narrow.place(each)]
    monkeypatch.setattr(topology_spread, "DOMAINS_WEIGHED", 0)
    assert found == [(where, wide.snapshot.start) for each in wanted for where in wide.place(each)]
    assert len({where for where, _ in found}) > 50


def test_a_node_that_has_the_image_is_taken_before_one_without_any_image() -> None:
    """Pods that look the same are placed as others are, on nodes with and without images."""
    held = node("b")
    size = 800 << 20
    held["status"]["images"] = [{"names": ["nginx:latest"], "sizeBytes": size}]
    scene = Scene(node("a"), held)
    templates = Templates(scene.snapshot, scene.profile, lambda pod: scene.group)
    assert [templates.place(pod("p")), *scene.place(pod("q"))] == ["b", "b"]
