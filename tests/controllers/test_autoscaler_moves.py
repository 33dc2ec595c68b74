"""The autoscaler on virtual time with scripted usage, and its arithmetic as tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from controlled_cluster import Cluster, deployment, simulate

from broker.clock import SIMULATION_EPOCH
from cluster.api import kinds
from cluster.api.objects import Object, condition_of
from cluster.controllers.autoscaler.behaviour import Memory, limit
from cluster.controllers.autoscaler.replicas import Groups, Tolerances, from_usage
from cluster.reconcile.metrics import NoMetrics, PodUsage

TENTH = Tolerances(Fraction(1, 10), Fraction(1, 10))


class Load(NoMetrics):
    """A total load in cores that the ready pods share."""

    def __init__(self) -> None:
        self.cores = Fraction(0)
        self.cluster: Cluster | None = None

    async def pods(self, namespace: str) -> Sequence[PodUsage]:
        assert self.cluster is not None
        ready = [p for p in await self.cluster.pods() if p["status"].get("phase") == "Running"]
        later = SIMULATION_EPOCH + timedelta(days=365)
        return [
            PodUsage(
                namespace=namespace,
                name=p["metadata"]["name"],
                at=later,
                window_s=30,
                containers={"c": {"cpu": self.cores / len(ready)}},
            )
            for p in ready
        ]


def autoscaler(**spec: Any) -> Object:
    target = {"type": "Utilization", "averageUtilization": 50}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 2,
            "maxReplicas": 10,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            **spec,
        },
    }


def requesting(cpu: str) -> Object:
    body = deployment(replicas=2)
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
    return body


def test_it_follows_the_load_up_at_once_and_down_after_five_minutes() -> None:
    """1 core per pod at 50 %: 3 cores of load want 6 pods, 0.5 want 1 (held to minReplicas 2)."""
    load = Load()

    async def scenario(cluster: Cluster) -> None:
        load.cluster, load.cores = cluster, Fraction(1)
        await cluster.create(kinds.DEPLOYMENTS, requesting("1"))
        await cluster.create(kinds.HORIZONTAL_POD_AUTOSCALERS, autoscaler())
        await cluster.settle(60)
        assert len(await cluster.pods()) == 2
        load.cores = Fraction(3)
        await cluster.settle(60)
        assert len(await cluster.pods()) == 6
        found = await cluster.get(kinds.HORIZONTAL_POD_AUTOSCALERS, "web")
        assert (condition_of(found, "ScalingActive") or {})["reason"] == "ValidMetricFound"
        metric = found["status"]["currentMetrics"][0]["resource"]["current"]
        assert (metric["averageUtilization"], metric["averageValue"]) == (50, "500m")
        message = "New size: 6; reason: cpu resource utilization (percentage of request) above target"
        assert message in await cluster.events("SuccessfulRescale")
        load.cores = Fraction(1, 2)
        await cluster.settle(240)
        assert len(await cluster.pods()) == 6
        await cluster.settle(120)
        assert len(await cluster.pods()) == 2

    simulate(scenario, metrics=load)


def test_without_metrics_it_says_why_and_leaves_the_target_alone() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.DEPLOYMENTS, requesting("1"))
        await cluster.create(kinds.HORIZONTAL_POD_AUTOSCALERS, autoscaler())
        await cluster.settle(60)
        found = await cluster.get(kinds.HORIZONTAL_POD_AUTOSCALERS, "web")
        condition = condition_of(found, "ScalingActive") or {}
        assert (condition["status"], condition["reason"]) == ("False", "FailedGetResourceMetric")
        assert len(await cluster.pods()) == 2

    simulate(scenario)


@pytest.mark.parametrize(
    ("values", "groups", "expected"),
    [
        pytest.param({"a": 1, "b": 1}, Groups(2, [], [], []), 4, id="twice-the-target"),
        pytest.param({"a": 0.52, "b": 0.52}, Groups(2, [], [], []), 2, id="within-tolerance"),
        pytest.param({"a": 0.1}, Groups(1, [], ["b"], []), 2, id="a-missing-one-counts-as-full-going-down"),
        pytest.param({"a": 1.5}, Groups(1, [], ["b"], []), 3, id="and-as-idle-going-up"),
        pytest.param({"a": 1.5, "b": 9}, Groups(1, ["b"], [], []), 3, id="an-unready-one-is-idle"),
        pytest.param({"a": 1, "b": 9}, Groups(1, [], [], ["b"]), 2, id="an-ignored-one-is-not-there"),
    ],
)
def test_the_arithmetic(values: dict[str, float], groups: Groups, expected: int) -> None:
    """Targets of half a core per pod, two replicas now."""
    targets = dict.fromkeys(("a", "b"), Fraction(1, 2))
    used = {name: Fraction(str(value)) for name, value in values.items()}
    assert from_usage(2, used, groups, targets, TENTH, dict.fromkeys(targets, Fraction(1)))[0] == expected


@pytest.mark.parametrize(
    ("behaviour", "current", "wanted", "expected"),
    [
        pytest.param({}, 2, 10, (6, "ScaleUpLimit"), id="four-pods-at-a-time"),
        pytest.param({}, 6, 30, (12, "ScaleUpLimit"), id="or-double"),
        pytest.param({}, 15, 50, (20, "TooManyReplicas"), id="maximum"),
        pytest.param({"scaleUp": {"selectPolicy": "Disabled"}}, 2, 10, (2, "ScaleUpLimit"), id="disabled"),
        pytest.param({}, 10, 1, (2, "TooFewReplicas"), id="minimum"),
        pytest.param(
            {"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}},
            10,
            5,
            (9, "ScaleDownLimit"),
            id="one-down-per-minute",
        ),
    ],
)
def test_the_limits(behaviour: Object, current: int, wanted: int, expected: tuple[int, str]) -> None:
    found = limit(autoscaler(maxReplicas=20, behavior=behaviour), Memory(), current, wanted, 0.0)
    assert (found.replicas, found.limited[1]) == expected
