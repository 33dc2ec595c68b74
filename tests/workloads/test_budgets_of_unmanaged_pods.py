"""DisruptionController: pods that nobody manages, and what a client may write into a budget's status."""

from __future__ import annotations

from controlled_cluster import Cluster, simulate
from staged_nodes import pod

from cluster.api import kinds
from cluster.api.objects import Object


def budget(name: str = "b", **spec: object) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, **spec},
    }


def test_a_share_of_unmanaged_pods_allows_nothing_and_says_so() -> None:
    async def scenario(cluster: Cluster) -> None:
        for n in range(3):
            await cluster.create(kinds.PODS, pod(f"p-{n}", labels={"app": "x"}))
        await cluster.create(kinds.POD_DISRUPTION_BUDGETS, budget(maxUnavailable=1))
        await cluster.settle(10)
        status = (await cluster.get(kinds.POD_DISRUPTION_BUDGETS, "b"))["status"]
        assert (status["disruptionsAllowed"], status["expectedPods"]) == (0, 0)
        (message, *_) = await cluster.events("UnmanagedPods")
        assert message.startswith("Pods selected by this PodDisruptionBudget (selector: app=x) were found")
        await cluster.expect_quiet()

    simulate(scenario)


def test_a_plain_number_of_unmanaged_pods_is_guarded() -> None:
    async def scenario(cluster: Cluster) -> None:
        for n in range(3):
            await cluster.create(kinds.PODS, pod(f"p-{n}", labels={"app": "x"}))
        await cluster.create(kinds.POD_DISRUPTION_BUDGETS, budget(minAvailable=2))
        await cluster.settle(10)
        status = (await cluster.get(kinds.POD_DISRUPTION_BUDGETS, "b"))["status"]
        assert (status["disruptionsAllowed"], status["expectedPods"], status["currentHealthy"]) == (1, 3, 3)
        assert await cluster.events("UnmanagedPods") == []

    simulate(scenario)


def test_a_changed_budget_lets_a_blocked_eviction_pass() -> None:
    """Blocked at minAvailable of all, allowed once a patch makes room."""

    async def scenario(cluster: Cluster) -> None:
        for n in range(2):
            await cluster.create(kinds.PODS, pod(f"p-{n}", labels={"app": "x"}))
        await cluster.create(kinds.POD_DISRUPTION_BUDGETS, budget(minAvailable=2))
        await cluster.settle(10)
        found = await cluster.get(kinds.POD_DISRUPTION_BUDGETS, "b")
        assert found["status"]["disruptionsAllowed"] == 0
        await cluster.merge(kinds.POD_DISRUPTION_BUDGETS, "b", {"spec": {"minAvailable": 1}})
        await cluster.settle(5)
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": "p-0", "namespace": "default"},
        }
        await cluster.client.create(
            kinds.PODS, eviction, namespace="default", subresource="eviction", name="p-0"
        )
        await cluster.settle(10)
        assert [p["metadata"]["name"] for p in await cluster.pods()] == ["p-1"]

    simulate(scenario)
