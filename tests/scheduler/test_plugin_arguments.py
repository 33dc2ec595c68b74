"""What a profile's arguments change, and which of them are refused."""

from __future__ import annotations

from typing import Any

import pytest
from scheduled import HOST, ZONE, Scene, node, pod

from cluster.api.selectors import of_map
from cluster.scheduler.configuration import ConfigurationError, ProfileSettings, read
from cluster.scheduler.templates import Templates

HEAD = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
LABELS = {"app": "web"}


def _settings(plugin: str, **arguments: Any) -> ProfileSettings:
    profile = {"pluginConfig": [{"name": plugin, "args": arguments}]}
    return read(HEAD | {"profiles": [profile]}).profiles[0]


def _with(scene: Scene, plugin: str, **arguments: Any) -> Scene:
    scene.profile = scene.of(_settings(plugin, **arguments))
    return scene


@pytest.mark.parametrize(
    ("plugin", "arguments", "message"),
    [
        pytest.param("ImageLocality", {}, "name: only NodeResourcesFit, ", id="takes none"),
        pytest.param("InterPodAffinity", {"hardPodAffinityWeight": 101}, "from 0 to 100", id="weight"),
        pytest.param("InterPodAffinity", {"hardWeight": 1}, "unknown field", id="unknown"),
        pytest.param("NodeResourcesFit", {"scoringStrategy": {"type": "Best"}}, "'Best' is none of", id="strategy"),
        pytest.param("NodeResourcesFit", {"ignoredResourceGroups": ["a/b"]}, "can't contain", id="group"),
        pytest.param(
            "NodeResourcesFit", {"scoringStrategy": {"type": "RequestedToCapacityRatio"}},
            "at least one point", id="no shape",
        ),
        pytest.param(
            "NodeResourcesFit",
            {"scoringStrategy": {"type": "RequestedToCapacityRatio", "requestedToCapacityRatio": {
                "shape": [{"utilization": 50, "score": 1}, {"utilization": 50, "score": 2}]}}},
            "sorted in increasing order", id="shape out of order",
        ),
        pytest.param(
            "PodTopologySpread",
            {"defaultConstraints": [{"maxSkew": 1, "topologyKey": HOST, "whenUnsatisfiable": "ScheduleAnyway"}]},
            'must be "List"', id="defaulting type",
        ),
        pytest.param(
            "PodTopologySpread",
            {"defaultingType": "List", "defaultConstraints": [{"maxSkew": 0, "topologyKey": HOST}]},
            "maxSkew: expected a number", id="skew",
        ),
        pytest.param("NodeResourcesBalancedAllocation", {"resources": [{"name": "cpu", "weight": 2}]}, "must be 1", id="balance"),
        pytest.param("DefaultPreemption", {"minCandidateNodesPercentage": 200}, "from 0 to 100", id="candidates"),
        pytest.param("VolumeBinding", {"bindTimeoutSeconds": -1}, "expected a number", id="timeout"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(plugin: str, arguments: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        _settings(plugin, **arguments)


def test_arguments_of_a_plugin_are_given_once() -> None:
    entry = {"name": "VolumeBinding", "args": {"bindTimeoutSeconds": 5}}
    assert read(HEAD | {"profiles": [{"pluginConfig": [entry]}]}).profiles[0].arguments.bind_timeout_s == 5
    with pytest.raises(ConfigurationError, match="repeated config for plugin VolumeBinding"):
        read(HEAD | {"profiles": [{"pluginConfig": [entry, entry]}]})


def test_a_required_affinity_of_others_weighs_what_the_profile_says() -> None:
    """A pod that wants web pods near, on n2; with a weight of 0 that draws no web pod there."""
    term = {"labelSelector": {"matchLabels": LABELS}, "topologyKey": HOST}
    wish = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    fan = pod("fan", on="n2", labels=LABELS, affinity=wish)
    scene = Scene(node("n1"), node("n2")).placed(fan)
    web = pod("web", labels=LABELS)
    assert scene.schedule(web, explain=True).scores["n2"]["InterPodAffinity"] == 200
    scene = _with(scene, "InterPodAffinity", hardPodAffinityWeight=0)
    assert "InterPodAffinity" not in scene.schedule(web, explain=True).scores["n2"]


def test_preferences_of_others_can_be_left_out() -> None:
    term = {"labelSelector": {"matchLabels": LABELS}, "topologyKey": HOST}
    wish = {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 50, "podAffinityTerm": term}]}}  # fmt: skip
    scene = Scene(node("n1"), node("n2")).placed(pod("fan", on="n2", affinity=wish))
    web = pod("web", labels=LABELS)
    assert scene.schedule(web, explain=True).scores["n2"]["InterPodAffinity"] == 200
    scene = _with(scene, "InterPodAffinity", ignorePreferredTermsOfExistingPods=True)
    assert "InterPodAffinity" not in scene.schedule(web, explain=True).scores["n2"]


def test_default_constraints_of_a_list_forbid_and_prefer() -> None:
    """Skew 1 over hosts, hard: the third pod of the group does not join the first two."""
    hard = {"maxSkew": 1, "topologyKey": HOST, "whenUnsatisfiable": "DoNotSchedule"}
    scene = Scene(node("n1"), node("n2", cpu="1"), group=of_map(LABELS))
    scene = _with(scene, "PodTopologySpread", defaultingType="List", defaultConstraints=[hard])
    pods = [pod(f"p{n}", cpu="600m", labels=LABELS) for n in range(4)]
    assert sorted(scene.place(*pods[:2])) == ["n1", "n2"]
    assert scene.place(pods[2]) == ["n1"]
    decision = scene.schedule(pods[3])
    assert decision.message() == (
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints."
    )


def test_an_empty_list_means_no_default_constraints() -> None:
    scene = Scene(node("n1", zone="a"), node("n2", zone="b"), group=of_map(LABELS))
    assert "PodTopologySpread" in scene.schedule(pod("p", labels=LABELS), explain=True).scores["n1"]
    scene = _with(scene, "PodTopologySpread", defaultingType="List")
    assert "PodTopologySpread" not in scene.schedule(pod("p", labels=LABELS), explain=True).scores["n1"]


def test_added_affinity_holds_for_every_pod() -> None:
    here = {"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["a"]}]}
    added = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [here]}}
    scene = _with(Scene(node("n1", zone="b"), node("n2", zone="a")), "NodeAffinity", addedAffinity=added)
    assert scene.schedule(pod("p")).node == "n2"
    decision = scene.schedule(pod("p", nodeSelector={ZONE: "b"}))
    assert decision.message() == (
        "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, "
        "1 node(s) didn't match scheduler-enforced node affinity."
    )


def test_added_preferences_count_for_every_pod() -> None:
    wish = {"weight": 1, "preference": {"matchExpressions": [{"key": ZONE, "operator": "Exists"}]}}
    added = {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}
    scene = _with(Scene(node("n1"), node("n2", zone="a")), "NodeAffinity", addedAffinity=added)
    assert scene.schedule(pod("p")).node == "n2"
    templates = Templates(scene.snapshot, scene.profile, lambda pod: None)
    assert templates.place(pod("p")) == "", "the short way does not know added affinity"


@pytest.mark.parametrize(("ignored", "fits"), [([], False), (["example.com/gpu"], True), (["cpu"], False)])
def test_ignored_resources_are_somebody_elses_business(ignored: list[str], fits: bool) -> None:
    asked = {"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": "1"}}
    wanted = pod("p", containers=[{"name": "c", "image": "i", "resources": asked}])
    for name, values in (
        ("ignoredResources", ignored),
        ("ignoredResourceGroups", [r.split("/")[0] for r in ignored]),
    ):
        scene = _with(Scene(node("n")), "NodeResourcesFit", **{name: values})
        assert bool(scene.schedule(wanted).node) is fits


@pytest.mark.parametrize(
    ("used", "expected"),
    [pytest.param("0", 0, id="empty"), ("1", 25), ("2", 50), ("3", 75), pytest.param("4", 100, id="full")],
)
def test_a_shape_gives_the_score_at_a_use(used: str, expected: int) -> None:
    """From 0 at no use to 10 at full use: bin packing by CPU."""
    strategy = {
        "type": "RequestedToCapacityRatio",
        "resources": [{"name": "cpu"}],
        "requestedToCapacityRatio": {
            "shape": [{"utilization": 0, "score": 0}, {"utilization": 100, "score": 10}]
        },
    }
    scene = _with(Scene(node("n"), node("m")), "NodeResourcesFit", scoringStrategy=strategy)
    if used != "0":
        scene.placed(pod("old", on="n", cpu=used))
    idle = pod("p", cpu="0", containers=[{"name": "c", "resources": {"requests": {"cpu": "0"}}}])
    scores = scene.schedule(idle, explain=True).scores
    assert scores["n"].get("NodeResourcesFit", 0) == expected


def test_balance_over_other_resources() -> None:
    resources = [{"name": "cpu"}, {"name": "memory"}, {"name": "pods"}]
    scene = _with(Scene(node("n1"), node("n2")), "NodeResourcesBalancedAllocation", resources=resources)
    scene.placed(pod("old", on="n1", cpu="3"))
    scores = scene.schedule(pod("p", cpu="1"), explain=True).scores
    assert scores["n2"]["NodeResourcesBalancedAllocation"] > scores["n1"]["NodeResourcesBalancedAllocation"]
