"""The autoscaler with every kind of metric, and its corner cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import pytest
from controlled_cluster import Cluster, deployment, simulate

from cluster.api import kinds
from cluster.api.errors import Invalid
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


QUEUE_IN = (
    "external metric messages(&LabelSelector{MatchLabels:map[string]string{queue: in,},"
    "MatchExpressions:[]LabelSelectorRequirement{},})"
)


@pytest.mark.parametrize(
    ("metric", "each", "total", "replicas", "name", "reason"),
    [
        pytest.param(PODS, 250, 0, 5, "pods metric rps", "ValidMetricFound", id="pods"),
        pytest.param(OBJECT, 0, 100, 4, "Service metric queue", "ValidMetricFound", id="object-value"),
        pytest.param(AVERAGE_OBJECT, 0, 400, 8, "Service metric queue", "ValidMetricFound", id="object-average"),
        pytest.param(EXTERNAL, 0, 300, 10, QUEUE_IN, "ValidMetricFound", id="external"),
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


_ABSENT = "the server could not find the requested resource"
_CUSTOM = f"unable to fetch metrics from custom metrics API: {_ABSENT}"
PLAIN_EXTERNAL = {
    "type": "External",
    "external": {"metric": {"name": "messages"}, "target": {"type": "Value", "value": "30"}},
}


@pytest.mark.parametrize(
    ("metric", "reason", "why", "wrapped"),
    [
        pytest.param(
            PODS, "FailedGetPodsMetric", f"unable to get metric rps: {_CUSTOM}",
            "failed to get pods metric value", id="pods",
        ),
        pytest.param(
            OBJECT, "FailedGetObjectMetric",
            f"unable to get metric queue: Service on default front/{_CUSTOM}",
            "failed to get object metric value", id="object",
        ),
        pytest.param(
            PLAIN_EXTERNAL, "FailedGetExternalMetric",
            "unable to get external metric default/messages/nil: "
            f"unable to fetch metrics from external metrics API: {_ABSENT}",
            "failed to get messages external metric value", id="external",
        ),
    ],
)  # fmt: skip
def test_a_metric_that_nobody_serves_is_named(metric: Object, reason: str, why: str, wrapped: str) -> None:
    """The event and the condition say what was asked of whom; the sum-up says which of how many."""

    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=2))
        await cluster.settle(30)
        await cluster.create(kinds.HORIZONTAL_POD_AUTOSCALERS, autoscaler(metric))
        await cluster.settle(1)
        active = (
            condition_of(await cluster.get(kinds.HORIZONTAL_POD_AUTOSCALERS, "web"), "ScalingActive") or {}
        )
        assert (active["status"], active["reason"], active["message"]) == (
            "False", reason, f"the HPA was unable to compute the replica count: {why}",
        )  # fmt: skip
        assert why in await cluster.events(reason)
        summary = f"invalid metrics (1 invalid out of 1), first error is: {wrapped}: {why}"
        assert summary in await cluster.events("FailedComputeMetricsReplicas")
        assert (await cluster.get(kinds.DEPLOYMENTS, "web"))["spec"]["replicas"] == 2

    simulate(scenario)


def test_two_autoscalers_of_the_same_pods_leave_them_alone() -> None:
    load = Custom()

    async def scenario(cluster: Cluster) -> None:
        load.cluster, load.each = cluster, Fraction(500)
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=2))
        await cluster.settle(30)
        await cluster.create(kinds.HORIZONTAL_POD_AUTOSCALERS, autoscaler(PODS, maxReplicas=2))
        rival = autoscaler(PODS, maxReplicas=2)
        rival["metadata"]["name"] = "rival"
        await cluster.create(kinds.HORIZONTAL_POD_AUTOSCALERS, rival)
        await cluster.settle(40)
        message = "pods by selector app=web are controlled by multiple HPAs: [{rival default} {web default}]"
        for name in ("web", "rival"):
            found = await cluster.get(kinds.HORIZONTAL_POD_AUTOSCALERS, name)
            active = condition_of(found, "ScalingActive") or {}
            assert (active["reason"], active["message"]) == ("AmbiguousSelector", message)
        assert message in await cluster.events("AmbiguousSelector")
        await cluster.client.delete(kinds.HORIZONTAL_POD_AUTOSCALERS, "rival", namespace="default")
        await cluster.settle(40)
        found = await cluster.get(kinds.HORIZONTAL_POD_AUTOSCALERS, "web")
        assert (condition_of(found, "ScalingActive") or {})["reason"] == "ValidMetricFound"

    simulate(scenario, metrics=load)


def test_a_target_that_is_not_there_is_a_condition() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.HORIZONTAL_POD_AUTOSCALERS, autoscaler(PODS))
        await cluster.settle(1)
        able = condition_of(await cluster.get(kinds.HORIZONTAL_POD_AUTOSCALERS, "web"), "AbleToScale") or {}
        absent = 'deployments.apps "web" not found'
        assert (able["status"], able["reason"], able["message"]) == (
            "False", "FailedGetScale",
            f"the HPA controller was unable to get the target's current scale: {absent}",
        )  # fmt: skip
        assert absent in await cluster.events("FailedGetScale")

    simulate(scenario)


def test_a_queue_scales_its_workers_to_zero_and_wakes_them() -> None:
    """External metric, minReplicas 0: none while the queue is empty, as many as it needs when it is not. What
    somebody else set to zero stays there."""
    load = Custom()

    async def scenario(cluster: Cluster) -> None:
        load.cluster, load.total = cluster, Fraction(60)
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=2))
        await cluster.settle(30)
        quick = {"scaleDown": {"stabilizationWindowSeconds": 0}}
        await cluster.create(
            kinds.HORIZONTAL_POD_AUTOSCALERS, autoscaler(EXTERNAL, minReplicas=0, behavior=quick)
        )

        async def replicas_and_mark(load_now: int) -> tuple[int, tuple[str, str]]:
            load.total = Fraction(load_now)
            await cluster.settle(40)
            found = await cluster.get(kinds.HORIZONTAL_POD_AUTOSCALERS, "web")
            mark = condition_of(found, "ScaledToZero") or {"status": "", "reason": ""}
            replicas: int = (await cluster.get(kinds.DEPLOYMENTS, "web"))["spec"]["replicas"]
            return replicas, (mark["status"], mark["reason"])

        assert await replicas_and_mark(60) == (2, ("", ""))
        assert await replicas_and_mark(0) == (0, ("True", "ScaledToZero"))
        assert await replicas_and_mark(0) == (0, ("True", "ScaledToZero"))
        assert await replicas_and_mark(90) == (3, ("False", "NotScaledToZero"))
        await cluster.merge(kinds.DEPLOYMENTS, "web", {"spec": {"replicas": 0}})
        assert (await replicas_and_mark(90))[0] == 0
        active = (
            condition_of(await cluster.get(kinds.HORIZONTAL_POD_AUTOSCALERS, "web"), "ScalingActive") or {}
        )
        assert active["reason"] == "ScalingDisabled"

    simulate(scenario, metrics=load)


def test_only_a_metric_without_pods_allows_zero() -> None:
    async def scenario(cluster: Cluster) -> None:
        why = "must specify at least one Object or External metric to support scaling to zero replicas"
        with pytest.raises(Invalid, match=why):
            await cluster.create(kinds.HORIZONTAL_POD_AUTOSCALERS, autoscaler(PODS, minReplicas=0))
        with pytest.raises(Invalid, match="must be greater than or equal to 0"):
            await cluster.create(kinds.HORIZONTAL_POD_AUTOSCALERS, autoscaler(EXTERNAL, minReplicas=-1))

    simulate(scenario)
