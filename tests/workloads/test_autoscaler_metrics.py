"""The autoscaler with every kind of metric, and its corner cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import pytest
from controlled_cluster import Cluster, deployment, simulate

from cluster.api import kinds
from cluster.api.objects import Object, condition_of
from cluster.reconcile.metrics import NoMetrics


class Custom(NoMetrics):
    """Custom and external metrics from a script."""

    def __init__(self) -> None:
        self.each = Fraction(0)
        self.total = Fraction(0)
        self.cluster: Cluster | None = None
        self.asked: list[tuple[str, str]] = []

    async def pod_metric(self, namespace: str, metric: str, selector: str) -> Mapping[str, Fraction]:
        assert self.cluster is not None
        self.asked.append((metric, selector))
        return {p["metadata"]["name"]: self.each for p in await self.cluster.pods()}

    async def object_metric(
        self, namespace: str, described: Mapping[str, Any], metric: str, selector: str
    ) -> Fraction:
        self.asked.append((metric, described["name"]))
        return self.total

    async def external_metric(self, namespace: str, metric: str, selector: str) -> Sequence[Fraction]:
        self.asked.append((metric, selector))
        return [self.total / 2, self.total / 2]


def autoscaler(*metrics: Object, **spec: Any) -> Object:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1,
            "maxReplicas": 20,
            "metrics": list(metrics),
            "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 20, "periodSeconds": 15}]}},
            **spec,
        },
    }


PODS = {
    "type": "Pods",
    "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "100"}},
}
OBJECT = {
    "type": "Object",
    "object": {
        "metric": {"name": "queue"},
        "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "front"},
        "target": {"type": "Value", "value": "50"},
    },
}
AVERAGE_OBJECT = {
    "type": "Object",
    "object": OBJECT["object"] | {"target": {"type": "AverageValue", "averageValue": "50"}},  # type: ignore[operator]
}
EXTERNAL = {
    "type": "External",
    "external": {
        "metric": {"name": "messages", "selector": {"matchLabels": {"queue": "in"}}},
        "target": {"type": "AverageValue", "averageValue": "30"},
    },
}


@pytest.mark.parametrize(
    ("metric", "each", "total", "replicas", "name", "reason"),
    [
        pytest.param(PODS, 250, 0, 5, "pods metric rps", "ValidMetricFound", id="pods"),
        pytest.param(OBJECT, 0, 100, 4, "Service metric queue", "ValidMetricFound", id="object-value"),
        pytest.param(AVERAGE_OBJECT, 0, 400, 8, "Service metric queue", "ValidMetricFound", id="object-average"),
        pytest.param(EXTERNAL, 0, 300, 10, "external metric messages", "ValidMetricFound", id="external"),
    ],
)  # fmt: skip
def test_other_metrics_scale_too(
    metric: Object, each: int, total: int, replicas: int, name: str, reason: str
) -> None:
    """From 2 pods, after the first look."""
    load = Custom()

    async def scenario(cluster: Cluster) -> None:
        load.cluster = cluster
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=2))
        await cluster.settle(60)
        load.each, load.total = Fraction(each), Fraction(total)
        await cluster.create(kinds.HORIZONTAL_POD_AUTOSCALERS, autoscaler(metric))
        await cluster.settle(1)
        found = await cluster.get(kinds.HORIZONTAL_POD_AUTOSCALERS, "web")
        assert found["status"]["desiredReplicas"] == replicas
        assert found["status"]["currentMetrics"][0]["type"] == metric["type"]
        active = condition_of(found, "ScalingActive") or {}
        assert (active["reason"], active["message"]) == (
            reason,
            f"the HPA was able to successfully calculate a replica count from {name}",
        )
        assert (await cluster.get(kinds.DEPLOYMENTS, "web"))["spec"]["replicas"] == replicas

    simulate(scenario, metrics=load)


def test_the_metric_that_asks_for_most_wins() -> None:
    load = Custom()

    async def scenario(cluster: Cluster) -> None:
        load.cluster, load.each, load.total = cluster, Fraction(50), Fraction(300)
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=2))
        await cluster.settle(60)
        await cluster.create(kinds.HORIZONTAL_POD_AUTOSCALERS, autoscaler(PODS, EXTERNAL))
        await cluster.settle(1)
        assert (await cluster.get(kinds.DEPLOYMENTS, "web"))["spec"]["replicas"] == 10
        assert ("messages", "queue=in") in load.asked
        (event,) = await cluster.events("SuccessfulRescale")
        assert event.startswith("New size: 10; reason: external metric messages")

    simulate(scenario, metrics=load)


@pytest.mark.parametrize(
    ("replicas", "bounds", "expected", "why"),
    [
        pytest.param(8, (1, 5), 5, "Current number of replicas above Spec.MaxReplicas", id="above"),
        pytest.param(1, (3, 5), 3, "Current number of replicas below Spec.MinReplicas", id="below"),
    ],
)
def test_bounds_hold_without_any_metric(
    replicas: int, bounds: tuple[int, int], expected: int, why: str
) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=replicas))
        await cluster.settle(10)
        low, high = bounds
        body = autoscaler(PODS, minReplicas=low, maxReplicas=high)
        await cluster.create(kinds.HORIZONTAL_POD_AUTOSCALERS, body)
        await cluster.settle(1)
        assert (await cluster.get(kinds.DEPLOYMENTS, "web"))["spec"]["replicas"] == expected
        assert await cluster.events("SuccessfulRescale") == [f"New size: {expected}; reason: {why}"]

    simulate(scenario)


def test_a_target_at_zero_is_left_alone() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=0))
        await cluster.create(kinds.HORIZONTAL_POD_AUTOSCALERS, autoscaler(PODS))
        await cluster.settle(60)
        found = await cluster.get(kinds.HORIZONTAL_POD_AUTOSCALERS, "web")
        active = condition_of(found, "ScalingActive") or {}
        assert (active["status"], active["reason"]) == ("False", "ScalingDisabled")
        assert (await cluster.get(kinds.DEPLOYMENTS, "web"))["spec"]["replicas"] == 0

    simulate(scenario)
