"""What the conformance specs of sig-scheduling describe, with the real scheduler on virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from controlled_cluster import Cluster, deployment, simulate
from staged_nodes import add_node, add_nodes, pod, priority_class

from cluster.api import kinds
from cluster.api.errors import Forbidden, Invalid
from cluster.api.objects import Object, condition_of
from cluster.reconcile.pods import is_ready
from cluster.scheduler.configuration import DEFAULT


async def classes(cluster: Cluster, **values: int) -> None:
    for name, value in values.items():
        await cluster.create(kinds.PRIORITY_CLASSES, priority_class(name, value))


async def where(cluster: Cluster) -> dict[str, str]:
    return {p["metadata"]["name"]: p["spec"].get("nodeName", "") for p in await cluster.pods()}


def message_of(body: Object) -> str:
    return str((condition_of(body, "PodScheduled") or {}).get("message"))


def test_the_least_important_pod_makes_room() -> None:
    """Basic preemption: two nodes full of a low and a medium pod; a high one takes the low one's place."""

    async def scenario(cluster: Cluster) -> None:
        cluster.gone_after_s = 10.0
        await add_nodes(cluster, 2)
        await classes(cluster, low=1, medium=100, high=1000)
        await cluster.create(kinds.PODS, pod("a", cpu="3", priorityClassName="low"))
        await cluster.create(kinds.PODS, pod("b", cpu="3", priorityClassName="medium"))
        await cluster.settle(5)
        before = await where(cluster)
        assert len(set(before.values())) == 2
        await cluster.create(kinds.PODS, pod("c", cpu="3", priorityClassName="high"))
        await cluster.settle(3)
        waiting = await cluster.get(kinds.PODS, "c")
        assert waiting["status"]["nominatedNodeName"] == before["a"]
        victim = await cluster.get(kinds.PODS, "a")
        mark = condition_of(victim, "DisruptionTarget") or {}
        assert mark["reason"] == "PreemptionByScheduler"
        assert mark["message"] == "default-scheduler: preempting to accommodate a higher priority pod"
        uid = waiting["metadata"]["uid"]
        assert await cluster.events("Preempted") == [f"Preempted by pod {uid} on node {before['a']}"]
        await cluster.settle(20)
        assert await where(cluster) == {"b": before["b"], "c": before["a"]}

    simulate(scenario, scheduler=DEFAULT)


def test_room_is_kept_for_the_nominated_pod() -> None:
    """While victims end, a pod of lower priority that would fit does not slip in."""

    async def scenario(cluster: Cluster) -> None:
        cluster.gone_after_s = 20.0
        await add_nodes(cluster, 1)
        await classes(cluster, low=1, medium=100, high=1000)
        for n in range(2):
            await cluster.create(kinds.PODS, pod(f"low-{n}", cpu="2", priorityClassName="low"))
        await cluster.settle(5)
        await cluster.create(kinds.PODS, pod("high", cpu="4", priorityClassName="high"))
        await cluster.settle(3)
        await cluster.create(kinds.PODS, pod("medium", cpu="1", priorityClassName="medium"))
        await cluster.settle(60)
        placed = await where(cluster)
        assert (placed["high"], placed["medium"]) == ("node-1", "")

    simulate(scenario, scheduler=DEFAULT)


def test_who_never_preempts_waits() -> None:
    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 1)
        await classes(cluster, low=1)
        polite = priority_class("polite", 1000, preemptionPolicy="Never")
        await cluster.create(kinds.PRIORITY_CLASSES, polite)
        await cluster.create(kinds.PODS, pod("low", cpu="4", priorityClassName="low"))
        await cluster.settle(5)
        await cluster.create(kinds.PODS, pod("patient", cpu="4", priorityClassName="polite"))
        await cluster.settle(30)
        assert await where(cluster) == {"low": "node-1", "patient": ""}
        message = message_of(await cluster.get(kinds.PODS, "patient"))
        assert "not eligible due to preemptionPolicy=Never." in message

    simulate(scenario, scheduler=DEFAULT)


def test_victims_without_a_budget_go_first() -> None:
    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 2)
        await classes(cluster, low=1, high=1000)
        guarded = pod("guarded", cpu="4", labels={"app": "guarded"}, priorityClassName="low")
        await cluster.create(kinds.PODS, guarded)
        await cluster.create(kinds.PODS, pod("free", cpu="4", priorityClassName="low"))
        budget = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "guard", "namespace": "default"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "guarded"}}},
        }
        await cluster.create(kinds.POD_DISRUPTION_BUDGETS, budget)
        await cluster.settle(5)
        await cluster.create(kinds.PODS, pod("high", cpu="4", priorityClassName="high"))
        await cluster.settle(10)
        assert sorted(await where(cluster)) == ["guarded", "high"]

    simulate(scenario, scheduler=DEFAULT)


def test_a_critical_pod_takes_the_place_of_replicas_that_then_wait() -> None:
    """The path over ReplicaSets: victims are made again, wait, and run once there is room."""

    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 2)
        await classes(cluster, high=1000)
        body = deployment(replicas=2)
        requests = {"requests": {"cpu": "3"}}
        body["spec"]["template"]["spec"]["containers"][0]["resources"] = requests
        await cluster.create(kinds.DEPLOYMENTS, body)
        await cluster.settle(10)
        critical = pod("critical", cpu="3", priorityClassName="system-cluster-critical")
        critical["metadata"]["namespace"] = "kube-system"
        class_body = priority_class("system-cluster-critical", 2_000_000_000)
        with pytest.raises((Forbidden, Invalid)):
            await cluster.create(kinds.PRIORITY_CLASSES, priority_class("mine", 2_000_000_000))
        await cluster.create(kinds.PRIORITY_CLASSES, class_body)
        await cluster.create(kinds.PODS, critical)
        await cluster.settle(20)
        web = await cluster.pods()
        assert (len(web), sum(map(is_ready, web))) == (2, 1)
        await add_node(cluster, "node-3")
        await cluster.settle(20)
        assert sum(map(is_ready, await cluster.pods())) == 2
        await cluster.expect_quiet()

    simulate(scenario, scheduler=DEFAULT)


def host_port(name: str, port: int, *, ip: str = "", protocol: str = "TCP") -> Object:
    entry = {"containerPort": 80, "hostPort": port, "protocol": protocol}
    if ip:
        entry["hostIP"] = ip
    return pod(name, containers=[{"name": "c", "image": "nginx", "ports": [entry]}])


@pytest.mark.parametrize(
    ("second", "fits"),
    [
        pytest.param(host_port("b", 54322, ip="127.0.0.2"), True, id="another-address"),
        pytest.param(host_port("b", 54322, ip="127.0.0.1", protocol="UDP"), True, id="another-protocol"),
        pytest.param(host_port("b", 54323, ip="127.0.0.1"), True, id="another-port"),
        pytest.param(host_port("b", 54322, ip="127.0.0.1"), False, id="the-same"),
        pytest.param(host_port("b", 54322, ip="0.0.0.0"), False, id="every-address"),
        pytest.param(host_port("b", 54322), False, id="unspecified"),
    ],
)
def test_host_ports_conflict_by_address_protocol_and_port(second: Object, fits: bool) -> None:
    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 1)
        await cluster.create(kinds.PODS, host_port("a", 54322, ip="127.0.0.1"))
        await cluster.settle(3)
        await cluster.create(kinds.PODS, second)
        await cluster.settle(3)
        assert bool((await where(cluster))["b"]) is fits
        if not fits:
            message = message_of(await cluster.get(kinds.PODS, "b"))
            assert "1 node(s) didn't have free ports for the requested pod ports" in message

    simulate(scenario, scheduler=DEFAULT)


@pytest.mark.parametrize(
    ("wish", "labels", "expected"),
    [
        pytest.param({"nodeSelector": {"disk": "ssd"}}, {"disk": "ssd"}, True, id="selector"),
        pytest.param({"nodeSelector": {"disk": "ssd"}}, {}, False, id="selector-without-match"),
        pytest.param({"tolerations": [{"operator": "Exists"}]}, {}, True, id="tolerates-all"),
    ],
)
def test_node_selectors_are_respected(wish: Any, labels: dict[str, str], expected: bool) -> None:
    async def scenario(cluster: Cluster) -> None:
        await add_node(cluster, "n", labels=labels)
        await cluster.create(kinds.PODS, pod("p", **wish))
        await cluster.settle(3)
        assert bool((await where(cluster))["p"]) is expected
        if not expected:
            text = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. "
            assert message_of(await cluster.get(kinds.PODS, "p")).startswith(text)
            await cluster.merge(kinds.NODES, "n", {"metadata": {"labels": {"disk": "ssd"}}})
            await cluster.settle(15)
            assert (await where(cluster))["p"] == "n"

    simulate(scenario, scheduler=DEFAULT)


def test_resource_limits_of_pods_decide_how_many_run() -> None:
    """Filled to the brim, one more waits with a message; freed room lets it in."""

    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 3)
        for n in range(6):
            await cluster.create(kinds.PODS, pod(f"fill-{n}", cpu="2"))
        await cluster.settle(3)
        await cluster.create(kinds.PODS, pod("more", cpu="2"))
        await cluster.settle(3)
        assert message_of(await cluster.get(kinds.PODS, "more")).startswith(
            "0/3 nodes are available: 3 Insufficient cpu."
        )
        await cluster.client.delete(kinds.PODS, "fill-0", namespace="default")
        await cluster.settle(15)
        assert (await where(cluster))["more"]

    simulate(scenario, scheduler=DEFAULT)
