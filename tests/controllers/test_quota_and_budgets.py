"""Resource quotas, disruption budgets, aggregated roles, event expiry: their status on virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from controlled_cluster import Cluster, deployment, simulate

from cluster.api import kinds
from cluster.api.errors import Forbidden, TooManyRequests
from cluster.api.objects import Object, condition_of


def named(kind: str, api_version: str, name: str, **parts: Any) -> Object:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        **parts,
    }


def test_a_quota_is_booked_given_back_and_then_quiet() -> None:
    async def scenario(cluster: Cluster) -> None:
        hard = {"pods": "3", "count/deployments.apps": "1", "services": "5"}
        await cluster.create(kinds.RESOURCE_QUOTAS, named("ResourceQuota", "v1", "q", spec={"hard": hard}))
        await cluster.settle(2)
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=5))
        await cluster.settle(10)
        assert len(await cluster.pods()) == 3
        with pytest.raises(Forbidden):
            await cluster.create(kinds.DEPLOYMENTS, deployment("other"))
        (replica_set,) = await cluster.list(kinds.REPLICA_SETS)
        assert (condition_of(replica_set, "ReplicaFailure") or {})["reason"] == "FailedCreate"
        found = await cluster.get(kinds.RESOURCE_QUOTAS, "q")
        assert found["status"]["used"] == {"pods": "3", "count/deployments.apps": "1", "services": "0"}
        await cluster.merge(kinds.DEPLOYMENTS, "web", {"spec": {"replicas": 2}})
        await cluster.settle(60)
        found = await cluster.get(kinds.RESOURCE_QUOTAS, "q")
        assert found["status"]["used"]["pods"] == "2"
        (replica_set,) = await cluster.list(kinds.REPLICA_SETS)
        assert condition_of(replica_set, "ReplicaFailure") is None
        await cluster.settle(1000)
        await cluster.expect_quiet()

    simulate(scenario)


@pytest.mark.parametrize(
    ("spec", "desired", "allowed"),
    [
        pytest.param({"minAvailable": 3}, 3, 1, id="at-least"),
        pytest.param({"maxUnavailable": 1}, 3, 1, id="at-most"),
        pytest.param({"minAvailable": "50%"}, 2, 2, id="share"),
        pytest.param({"maxUnavailable": "50%"}, 2, 2, id="share-lost"),
    ],
)
def test_a_budget_counts(spec: Object, desired: int, allowed: int) -> None:
    async def scenario(cluster: Cluster) -> None:
        selector = {"matchLabels": {"app": "web"}}
        budget = named("PodDisruptionBudget", "policy/v1", "b", spec={**spec, "selector": selector})
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=4))
        await cluster.create(kinds.POD_DISRUPTION_BUDGETS, budget)
        await cluster.settle()
        status = (await cluster.get(kinds.POD_DISRUPTION_BUDGETS, "b"))["status"]
        counts = (status["currentHealthy"], status["desiredHealthy"], status["expectedPods"])
        assert counts == (4, desired, 4)
        assert status["disruptionsAllowed"] == allowed
        await cluster.expect_quiet()

    simulate(scenario)


def test_evictions_stop_at_the_budget_and_go_on_when_pods_are_replaced() -> None:
    async def scenario(cluster: Cluster) -> None:
        spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=3))
        await cluster.create(
            kinds.POD_DISRUPTION_BUDGETS, named("PodDisruptionBudget", "policy/v1", "b", spec=spec)
        )
        await cluster.settle()
        names = [p["metadata"]["name"] for p in await cluster.pods()]

        async def evict(name: str) -> None:
            body = named("Eviction", "policy/v1", name)
            await cluster.client.create(
                kinds.PODS, body, namespace="default", subresource="eviction", name=name
            )

        await evict(names[0])
        with pytest.raises(TooManyRequests):
            await evict(names[1])
        await cluster.settle()
        await evict(names[1])

    simulate(scenario)


def test_an_aggregated_role_follows_its_parts() -> None:
    async def scenario(cluster: Cluster) -> None:
        selector = {"matchLabels": {"to": "all"}}
        whole = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "whole"},
            "aggregationRule": {"clusterRoleSelectors": [selector]},
            "rules": [],
        }
        rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
        part = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "part", "labels": {"to": "all"}},
            "rules": [rule],
        }
        await cluster.client.create(kinds.CLUSTER_ROLES, whole)
        await cluster.client.create(kinds.CLUSTER_ROLES, part)
        await cluster.settle(1)
        assert (await cluster.client.get(kinds.CLUSTER_ROLES, "whole"))["rules"] == [rule]
        await cluster.client.delete(kinds.CLUSTER_ROLES, "part")
        await cluster.settle(1)
        assert not (await cluster.client.get(kinds.CLUSTER_ROLES, "whole")).get("rules")

    simulate(scenario)


def test_events_are_gone_after_an_hour() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.DEPLOYMENTS, deployment())
        await cluster.settle(60)
        assert await cluster.events("ScalingReplicaSet") == [
            f"Scaled up replica set {(await cluster.list(kinds.REPLICA_SETS))[0]['metadata']['name']} from 0 to 3"
        ]
        await cluster.settle(3600)
        assert not await cluster.list(kinds.EVENTS)

    simulate(scenario)
