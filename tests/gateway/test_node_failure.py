"""A node dies, is found out, its pods move; it comes back. On virtual time, with every real controller."""

from __future__ import annotations

import asyncio

from controlled_plane import Plane, deployment, simulate

from broker.rules import Rule, Verdict
from cluster.api import kinds
from cluster.api.objects import condition_of
from cluster.api.timings import FAST


def _running(plane: Plane) -> dict[str, int]:
    """Pods that run and are not being deleted, per node."""
    counts: dict[str, int] = {}
    for pod in plane.pods():
        ready = condition_of(pod, "Ready")
        if ready and ready["status"] == "True" and "deletionTimestamp" not in pod["metadata"]:
            node = pod["spec"]["nodeName"]
            counts[node] = counts.get(node, 0) + 1
    return counts


def test_a_deployment_is_scheduled_evenly_and_runs() -> None:
    async def scenario(plane: Plane) -> None:
        await plane.client.create(kinds.DEPLOYMENTS, deployment("web", 6))
        await plane.eventually(lambda: _running(plane) == {"n0": 2, "n1": 2, "n2": 2})
        assert len(plane.events("Scheduled")) == 6
        assert all(m.startswith("Successfully assigned default/web-") for m in plane.events("Scheduled"))

    simulate(scenario)


def test_a_killed_node_is_tainted_and_its_pods_are_replaced_elsewhere() -> None:
    async def scenario(plane: Plane) -> None:
        await plane.client.create(kinds.DEPLOYMENTS, deployment("web", 6))
        await plane.eventually(lambda: sum(_running(plane).values()) == 6)
        killed_at = plane.clock.monotonic()
        await plane.agents[0].kill()
        await plane.eventually(lambda: plane.readiness("n0") == "Unknown")
        silence_s = plane.clock.monotonic() - killed_at
        assert silence_s <= FAST.node_monitor_grace_s + FAST.heartbeat_s + FAST.node_monitor_period_s + 0.1
        node = plane.stored(kinds.NODES, "n0")
        assert node is not None
        ready = condition_of(node, "Ready")
        assert ready is not None
        assert ready["reason"] == "NodeStatusUnknown"
        assert ready["message"] == "Kubelet stopped posting node status."
        await plane.eventually(
            lambda: plane.taints("n0") == ["unreachable:NoExecute", "unreachable:NoSchedule"]
        )
        await plane.eventually(lambda: "Node n0 status is now: NodeNotReady" in plane.events("NodeNotReady"))
        assert "n0" not in _running(plane), "its pods no longer count as ready"
        await plane.eventually(lambda: _running(plane) == {"n1": 3, "n2": 3})
        marked = plane.events("TaintManagerEviction")
        assert len(marked) == 2
        assert all(message.startswith("Marking for deletion Pod default/web-") for message in marked)

        await plane.agent("n0", "e2")
        await plane.eventually(lambda: plane.readiness("n0") == "True" and not plane.taints("n0"))
        await plane.eventually(lambda: len(plane.pods()) == 6, why="stale pods are cleaned up")
        assert plane.agents[-1].running == {}

    simulate(scenario)


def test_a_short_partition_loses_no_pod_and_heals_their_readiness() -> None:
    """Silent for longer than the grace but shorter than the tolerations: the pods stay, and are ready
    again without having been restarted."""

    async def scenario(plane: Plane) -> None:
        await plane.client.create(kinds.DEPLOYMENTS, deployment("web", 6))
        await plane.eventually(lambda: sum(_running(plane).values()) == 6)
        before = sorted(pod["metadata"]["uid"] for pod in plane.pods())
        plane.rules.replace(
            [Rule(verdict=Verdict.DROP, sender="n0"), Rule(verdict=Verdict.DROP, receiver="n0")]
        )
        await plane.eventually(lambda: plane.readiness("n0") == "Unknown" and "n0" not in _running(plane))
        await asyncio.sleep(0.5)
        plane.rules.replace([])
        await plane.eventually(lambda: _running(plane) == {"n0": 2, "n1": 2, "n2": 2})
        await asyncio.sleep(10)
        assert sorted(pod["metadata"]["uid"] for pod in plane.pods()) == before
        assert plane.taints("n0") == []

    simulate(scenario)


def test_when_every_node_is_silent_nothing_is_evicted() -> None:
    async def scenario(plane: Plane) -> None:
        await plane.client.create(kinds.DEPLOYMENTS, deployment("web", 6))
        await plane.eventually(lambda: sum(_running(plane).values()) == 6)
        before = sorted(pod["metadata"]["uid"] for pod in plane.pods())
        plane.rules.replace([Rule(verdict=Verdict.DROP)])
        await asyncio.sleep(60)
        assert sorted(pod["metadata"]["uid"] for pod in plane.pods()) == before
        assert not any("unreachable:NoExecute" in plane.taints(f"n{i}") for i in range(3))
        plane.rules.replace([])
        await plane.eventually(lambda: _running(plane) == {"n0": 2, "n1": 2, "n2": 2})

    simulate(scenario)


def test_pods_of_a_deleted_node_are_collected() -> None:
    async def scenario(plane: Plane) -> None:
        await plane.client.create(kinds.DEPLOYMENTS, deployment("web", 6))
        await plane.eventually(lambda: sum(_running(plane).values()) == 6)
        await plane.agents[0].kill()
        await plane.client.delete(kinds.NODES, "n0")
        await plane.eventually(lambda: _running(plane) == {"n1": 3, "n2": 3})
        await plane.eventually(lambda: len(plane.pods()) == 6)

    simulate(scenario)


def test_pods_that_fit_nowhere_say_why_and_are_placed_when_a_node_comes() -> None:
    async def scenario(plane: Plane) -> None:
        await plane.client.patch(kinds.NODES, "n0", {"spec": {"unschedulable": True}})
        taint = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}
        await plane.client.patch(kinds.NODES, "n1", {"spec": {"taints": [taint]}})
        await plane.eventually(lambda: "unschedulable:NoSchedule" in plane.taints("n0"))
        body = deployment("big", 1)["spec"]["template"]
        body["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "8"}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "big"}, "spec": body["spec"]}
        await plane.client.create(kinds.PODS, pod, namespace="default")
        expected = (
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), "
            "1 node(s) were unschedulable. preemption: 0/3 nodes are available: "
            "3 Preemption is not helpful for scheduling."
        )
        await plane.eventually(lambda: plane.events("FailedScheduling"))
        assert plane.events("FailedScheduling") == [expected]
        stored = plane.stored(kinds.PODS, "big", "default")
        assert stored is not None
        condition = condition_of(stored, "PodScheduled")
        assert condition is not None
        assert (condition["status"], condition["reason"], condition["message"]) == (
            "False",
            "Unschedulable",
            expected,
        )

    simulate(scenario)


def test_a_more_important_pod_takes_the_place_of_a_less_important_one() -> None:
    async def scenario(plane: Plane) -> None:
        for name, value in (("low", 1), ("high", 1000)):
            body = {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": name},
                "value": value,
            }
            await plane.client.create(kinds.PRIORITY_CLASSES, body)

        async def create(name: str, priority: str, cpu: str) -> None:
            container = {"name": "c", "image": "nginx", "resources": {"requests": {"cpu": cpu}}}
            spec = {"containers": [container], "priorityClassName": priority}
            body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
            await plane.client.create(kinds.PODS, body, namespace="default")

        await create("small", "low", "1")
        await create("large", "low", "3")
        await plane.eventually(lambda: sum(_running(plane).values()) == 2)
        await create("urgent", "high", "4")
        await plane.eventually(lambda: plane.events("Preempted"))
        await plane.eventually(
            lambda: plane.stored(kinds.PODS, "urgent", "default")["status"]["phase"] == "Running"
        )
        assert plane.stored(kinds.PODS, "large", "default") is not None
        assert plane.stored(kinds.PODS, "small", "default") is None
        assert plane.events("FailedScheduling") == ["0/2 nodes are available: 2 Insufficient cpu."]

    simulate(scenario, nodes=2)
