"""DisruptionController: pods that nobody manages, and what a client may write into a budget's status."""

from __future__ import annotations

import pytest
from controlled_cluster import Cluster, simulate
from staged_nodes import add_nodes, pod
from workload_kinds import DAEMON_SET

from cluster.api import kinds
from cluster.api.errors import TooManyRequests
from cluster.api.objects import Object, condition_of


def budget(name: str = "b", **spec: object) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, **spec},
    }


async def evict(cluster: Cluster, name: str) -> None:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
    await cluster.client.create(kinds.PODS, body, namespace="default", subresource="eviction", name=name)


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
        await evict(cluster, "p-0")
        await cluster.settle(10)
        assert [p["metadata"]["name"] for p in await cluster.pods()] == ["p-1"]

    simulate(scenario)


def test_a_share_of_pods_that_cannot_be_scaled_fails_and_lets_nobody_go() -> None:
    """A DaemonSet has no scale: the budget says so, and evictions are refused with the reason."""

    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 2)
        await cluster.create(kinds.DAEMON_SETS, DAEMON_SET.body("agents", labels={"app": "x"}))
        await cluster.create(kinds.POD_DISRUPTION_BUDGETS, budget(maxUnavailable=1))
        await cluster.settle(20)
        found = await cluster.get(kinds.POD_DISRUPTION_BUDGETS, "b")
        failed = condition_of(found, "DisruptionAllowed") or {}
        why = "daemonsets.apps does not implement the scale subresource"
        assert (failed["status"], failed["reason"], failed["message"]) == ("False", "SyncFailed", why)
        assert found["status"]["disruptionsAllowed"] == 0
        expected = f"Failed to calculate the number of expected pods: {why}"
        assert expected in await cluster.events("CalculateExpectedPodCountFailed")
        with pytest.raises(TooManyRequests) as refused:
            await evict(cluster, (await cluster.pods())[0]["metadata"]["name"])
        message = refused.value.causes[0].message
        assert message == "The disruption budget b is still being processed by the server."
        await cluster.merge(
            kinds.POD_DISRUPTION_BUDGETS, "b", {"spec": {"maxUnavailable": None, "minAvailable": 1}}
        )
        await cluster.settle(5)
        allowed = (
            condition_of(await cluster.get(kinds.POD_DISRUPTION_BUDGETS, "b"), "DisruptionAllowed") or {}
        )
        assert (allowed["status"], allowed["reason"]) == ("True", "SufficientPods")
        await cluster.merge(kinds.POD_DISRUPTION_BUDGETS, "b", {"spec": {"minAvailable": "50%"}})
        await cluster.settle(5)
        await cluster.merge(
            kinds.POD_DISRUPTION_BUDGETS, "b", {"status": {"observedGeneration": 3}}, "status"
        )
        with pytest.raises(TooManyRequests) as refused:
            await evict(cluster, (await cluster.pods())[0]["metadata"]["name"])
        assert refused.value.causes[0].message == (
            f"The disruption budget b does not allow evicting pods currently because it failed sync: {why}"
        )

    simulate(scenario)


@pytest.mark.parametrize(
    ("policy", "healthy", "may_go"),
    [
        pytest.param(None, 2, True, id="enough others are healthy"),
        pytest.param(None, 1, False, id="too few are"),
        pytest.param("IfHealthyBudget", 1, False, id="too few, said so"),
        pytest.param("AlwaysAllow", 1, True, id="always"),
    ],
)
def test_unhealthy_pods_are_evicted_by_the_budgets_policy(
    policy: str | None, healthy: int, may_go: bool
) -> None:
    """Two healthy pods are wanted; the one to be evicted never became ready."""

    async def scenario(cluster: Cluster) -> None:
        cluster.refuse = lambda made: made["metadata"]["name"] == "sick"
        for n in range(healthy):
            await cluster.create(kinds.PODS, pod(f"p-{n}", labels={"app": "x"}))
        await cluster.create(kinds.PODS, pod("sick", labels={"app": "x"}))
        spec = {"unhealthyPodEvictionPolicy": policy} if policy else {}
        await cluster.create(kinds.POD_DISRUPTION_BUDGETS, budget(minAvailable=2, **spec))
        await cluster.settle(10)
        if may_go:
            await evict(cluster, "sick")
            await cluster.settle(10)
            assert "sick" not in [p["metadata"]["name"] for p in await cluster.pods()]
            return
        with pytest.raises(TooManyRequests, match="would violate the pod's disruption budget"):
            await evict(cluster, "sick")

    simulate(scenario)
