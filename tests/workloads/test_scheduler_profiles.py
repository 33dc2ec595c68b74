"""Scheduler configuration, several profiles, and explanations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from controlled_cluster import Cluster, simulate
from staged_nodes import add_node, add_nodes, pod

from cluster import settings
from cluster.api import kinds
from cluster.api.objects import Object
from cluster.scheduler.configuration import FILTERS, Configuration, ConfigurationError, ProfileSettings, read
from scenarios.command.explain_scheduling import lines_of

HEAD = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}


def packing(name: str) -> Object:
    arguments = {"scoringStrategy": {"type": "MostAllocated", "resources": [{"name": "cpu", "weight": 1}]}}
    return {
        "schedulerName": name,
        "plugins": {
            "score": {"disabled": [{"name": "*"}], "enabled": [{"name": "NodeResourcesFit", "weight": 5}]}
        },
        "pluginConfig": [{"name": "NodeResourcesFit", "args": arguments}],
    }


def test_a_configuration_is_read_as_kube_scheduler_reads_it() -> None:
    spread = {"multiPoint": {"disabled": [{"name": "PodTopologySpread"}]}}
    configuration = read(
        HEAD
        | {
            "percentageOfNodesToScore": 40,
            "profiles": [packing("packer"), {"plugins": spread, "percentageOfNodesToScore": 100}],
        }
    )
    packer, default = configuration.profiles
    assert (packer.name, packer.arguments.strategy, dict(packer.weights)) == (
        "packer", "MostAllocated", {"NodeResourcesFit": 5},
    )  # fmt: skip
    assert (packer.percentage_of_nodes, default.percentage_of_nodes) == (40, 100)
    assert list(default.filters) == [name for name in FILTERS if name != "PodTopologySpread"]
    assert "PodTopologySpread" not in default.weights


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param([], "document: expected an object", id="no-object"),
        pytest.param({"kind": "Pod"}, "expected apiVersion", id="kind"),
        pytest.param(HEAD | {"leaderElection": {}}, "leaderElection: unknown field", id="field"),
        pytest.param(HEAD | {"profiles": [{}, {}]}, "duplicate profile", id="twice"),
        pytest.param(
            HEAD | {"profiles": [{"plugins": {"score": {"enabled": [{"name": "Mood"}]}}}]}, "'Mood'", id="plugin"
        ),
        pytest.param(
            HEAD | {"profiles": [{"plugins": {"score": {"enabled": [{"name": "ImageLocality", "weight": 0}]}}}]},
            "from 1 to 100", id="weight",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(document: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read(document)


def test_the_settings_take_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scheduler.yaml"
    path.write_text(json.dumps(HEAD | {"profiles": [packing("packer")]}))
    assert settings.parse(["--scheduler-config", str(path)], {}).scheduler.profiles[0].name == "packer"
    path.write_text("profiles: 3")
    with pytest.raises(SystemExit):
        settings.parse([], {"KUBEMU_SCHEDULER_CONFIG": str(path)})
    assert "--scheduler-config" in capsys.readouterr().err


def test_each_pod_is_placed_by_the_profile_it_names() -> None:
    """The default profile spreads, the other one packs; a pod of nobody's waits."""

    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 3)
        for n in range(3):
            await cluster.create(kinds.PODS, pod(f"spread-{n}", cpu="500m"))
        for n in range(4):
            await cluster.create(kinds.PODS, pod(f"packed-{n}", cpu="500m", schedulerName="packer"))
        await cluster.create(kinds.PODS, pod("lost", schedulerName="nobody"))
        await cluster.settle(5)
        where = {p["metadata"]["name"]: p["spec"].get("nodeName", "") for p in await cluster.pods()}
        assert len({where[f"spread-{n}"] for n in range(3)}) == 3
        assert len({where[f"packed-{n}"] for n in range(4)}) == 1
        assert where["lost"] == ""
        sources = {
            (e["involvedObject"]["name"], e["source"]["component"]) for e in await cluster.list(kinds.EVENTS)
        }
        assert {("spread-0", "default-scheduler"), ("packed-0", "packer")} <= sources

    profiles = (ProfileSettings(), read(HEAD | {"profiles": [packing("packer")]}).profiles[0])
    simulate(scenario, scheduler=Configuration(profiles=profiles))


def test_extended_resources_and_gates() -> None:
    """A node with two widgets takes two pods that ask for one each; a gated pod waits until it is let go."""

    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 2)
        for field in ("capacity", "allocatable"):
            await cluster.merge(
                kinds.NODES, "node-2", {"status": {field: {"example.com/widget": "2"}}}, "status"
            )
        amounts = {"limits": {"example.com/widget": "1"}, "requests": {"example.com/widget": "1"}}
        container = {"name": "c", "image": "nginx", "resources": amounts}
        for n in range(3):
            await cluster.create(kinds.PODS, pod(f"w-{n}", containers=[container]))
        gated = pod("gated", schedulingGates=[{"name": "example.com/wait"}])
        await cluster.create(kinds.PODS, gated)
        await cluster.settle(5)
        pods = {p["metadata"]["name"]: p for p in await cluster.pods()}
        assert [pods[f"w-{n}"]["spec"].get("nodeName", "") for n in range(3)] == ["node-2", "node-2", ""]
        assert "2 Insufficient example.com/widget" in pods["w-2"]["status"]["conditions"][0]["message"]
        condition = pods["gated"]["status"]["conditions"][0]
        assert (condition["type"], condition["reason"]) == ("PodScheduled", "SchedulingGated")
        await cluster.merge(kinds.PODS, "gated", {"spec": {"schedulingGates": None}})
        await cluster.settle(2)
        assert (await cluster.get(kinds.PODS, "gated"))["spec"]["nodeName"]

    simulate(scenario, scheduler=Configuration())


def test_an_explanation_as_people_read_it() -> None:
    document = {
        "metadata": {"name": "x", "namespace": "default"}, "state": "unschedulable",
        "schedulerName": "default-scheduler", "nodeName": "", "refusedBy": ["NodeResourcesFit"], "attempts": 3,
        "wouldChoose": "b", "message": "",
        "nodes": [
            {"name": "a", "feasible": False, "plugin": "NodeResourcesFit", "reasons": ["Insufficient cpu"]},
            {"name": "b", "feasible": True, "score": 150, "scores": {"NodeResourcesFit": 50, "ImageLocality": 100}},
        ],
    }  # fmt: skip
    assert list(lines_of(document)) == [
        "pod default/x: unschedulable",
        "  scheduler     default-scheduler",
        "  would choose  b",
        "  waits for     NodeResourcesFit   after 3 attempts",
        "nodes",
        "  b  score 150   NodeResourcesFit 50, ImageLocality 100",
        "  a  refused by NodeResourcesFit: Insufficient cpu",
    ]


def test_a_bound_pod_is_labelled_with_its_zone() -> None:
    async def scenario(cluster: Cluster) -> None:
        await add_node(cluster, "far", labels={"topology.kubernetes.io/zone": "z1", "color": "blue"})
        await cluster.create(kinds.PODS, pod("p", labels={"app": "a"}))
        await cluster.settle(5)
        found = await cluster.get(kinds.PODS, "p")
        assert found["spec"]["nodeName"] == "far"
        assert found["metadata"]["labels"] == {"app": "a", "topology.kubernetes.io/zone": "z1"}

    simulate(scenario, scheduler=Configuration())
