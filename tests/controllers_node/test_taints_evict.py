"""NoExecute taints, and pods that bear them for a while."""

from __future__ import annotations

from typing import Any

from controlled_cluster import Cluster, simulate

from cluster.api import kinds
from cluster.api.objects import Object, condition_of

KEY = "example.com/draining"
TAINT = {"key": KEY, "value": "now", "effect": "NoExecute"}


def tolerating(name: str, *seconds: float | None) -> Object:
    """A pod on n1; None: for good."""
    each = [{"key": KEY, "operator": "Equal", "value": "now", "effect": "NoExecute"}] * len(seconds)
    tolerations: list[Any] = [
        toleration if limit is None else {**toleration, "tolerationSeconds": limit}
        for toleration, limit in zip(each, seconds, strict=True)
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeName": "n1",
            "containers": [{"name": "c", "image": "x"}],
            "tolerations": tolerations,
            "terminationGracePeriodSeconds": 0,
        },
    }


async def start(cluster: Cluster, *pods: Object) -> None:
    await cluster.create(kinds.NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    await cluster.merge(kinds.NODES, "n1", {"spec": {"taints": None}})
    for pod in pods:
        await cluster.create(kinds.PODS, pod)
    await cluster.settle(5)


async def names(cluster: Cluster) -> list[str]:
    return sorted(p["metadata"]["name"] for p in await cluster.pods())


def test_pods_go_after_the_least_time_that_they_tolerate() -> None:
    async def scenario(cluster: Cluster) -> None:
        pods = [tolerating("none"), tolerating("short", 10), tolerating("long", 60), tolerating("ever", None)]
        await start(cluster, *pods)
        await cluster.merge(kinds.NODES, "n1", {"spec": {"taints": [TAINT]}})
        await cluster.settle(5)
        assert await names(cluster) == ["ever", "long", "short"]
        await cluster.settle(10)
        assert await names(cluster) == ["ever", "long"]
        await cluster.settle(60)
        assert await names(cluster) == ["ever"]
        told = await cluster.events("TaintManagerEviction")
        assert sorted(told) == [f"Marking for deletion Pod default/{n}" for n in ("long", "none", "short")]

    simulate(scenario)


def test_a_taint_that_goes_in_time_cancels_the_eviction() -> None:
    async def scenario(cluster: Cluster) -> None:
        await start(cluster, tolerating("stays", 60))
        await cluster.merge(kinds.NODES, "n1", {"spec": {"taints": [TAINT]}})
        await cluster.settle(20)
        await cluster.merge(kinds.NODES, "n1", {"spec": {"taints": None}})
        await cluster.settle(180)
        (pod,) = await cluster.pods()
        assert "deletionTimestamp" not in pod["metadata"]
        assert condition_of(pod, "DisruptionTarget") is None
        assert await cluster.events("TaintManagerEviction") == ["Cancelling deletion of Pod default/stays"]

    simulate(scenario)
