"""The table of kinds, the registry over it, and the kinds with two shapes."""

from __future__ import annotations

import dataclasses

import pytest

from cluster.api import facts, kinds
from cluster.api.registry import Registry
from cluster.api.resource import Resource


@pytest.mark.parametrize("resource", kinds.BUILT_IN, ids=lambda r: f"{r.plural}.{r.group}.{r.version}")
def test_every_kind_has_a_type(resource: Resource) -> None:
    assert (resource.group, resource.version, resource.kind) in facts.of(resource).kinds


def test_no_two_kinds_share_a_path_or_a_name() -> None:
    paths = [(r.group, r.version, r.plural) for r in kinds.BUILT_IN]
    names = [(r.api_version, r.kind) for r in kinds.BUILT_IN]
    assert len(set(paths)) == len(set(names)) == len(kinds.BUILT_IN)


def test_the_registry_finds_by_path_and_kind() -> None:
    registry = Registry()
    assert registry.find("apps", "v1", "deployments") is kinds.DEPLOYMENTS
    assert registry.of_kind("v1", "Pod") is kinds.PODS
    assert registry.find("apps", "v2", "deployments") is None


def test_a_custom_kind_comes_and_goes() -> None:
    registry = Registry()
    before = registry.generation
    custom = dataclasses.replace(kinds.CONFIG_MAPS, group="example.com", kind="Thing", plural="things")
    registry.add(custom)
    assert registry.of_kind("example.com/v1", "Thing") is custom
    registry.remove(custom)
    assert registry.find("example.com", "v1", "things") is None
    assert registry.generation == before + 2


def test_events_and_autoscalers_are_stored_once() -> None:
    registry = Registry()
    assert registry.storage_of(kinds.EVENTS_V1) is kinds.EVENTS
    assert registry.storage_of(kinds.HORIZONTAL_POD_AUTOSCALERS_V1) is kinds.HORIZONTAL_POD_AUTOSCALERS
    assert registry.storage_of(kinds.PODS) is kinds.PODS


def test_an_event_keeps_everything_through_both_shapes() -> None:
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod"},
        "message": "m",
        "count": 2,
        "reportingComponent": "c",
        "source": {"component": "c"},
    }
    registry = Registry()
    other = registry.convert(event, kinds.EVENTS_V1)
    assert (other["regarding"], other["note"], other["deprecatedCount"]) == ({"kind": "Pod"}, "m", 2)
    assert registry.convert(other, kinds.EVENTS) == event


def test_an_autoscaler_keeps_everything_through_v1() -> None:
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "a", "annotations": {"mine": "x"}},
        "spec": {
            "maxReplicas": 3,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                },
                {
                    "type": "Pods",
                    "pods": {
                        "metric": {"name": "q"},
                        "target": {"type": "AverageValue", "averageValue": "1"},
                    },
                },
                {
                    "type": "Object",
                    "object": {
                        "metric": {"name": "h"},
                        "describedObject": {"kind": "Ingress", "name": "i"},
                        "target": {"type": "Value", "value": "2"},
                    },
                },
            ],
            "behavior": {"scaleDown": {"selectPolicy": "Disabled"}},
        },
    }
    registry = Registry()
    v1 = registry.convert(autoscaler, kinds.HORIZONTAL_POD_AUTOSCALERS_V1)
    assert v1["spec"] == {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}
    assert registry.convert(v1, kinds.HORIZONTAL_POD_AUTOSCALERS) == autoscaler


def test_facts_drive_merges() -> None:
    spec = facts.type_named("io.k8s.api.core.v1.PodSpec").fields
    assert (spec["containers"].merge_key, spec["containers"].patch) == ("name", ("merge",))
    assert (spec["containers"].type.list_type, spec["containers"].type.map_keys) == ("map", ("name",))
    assert spec["volumes"].patch == ("merge", "retainKeys")
    assert spec["nodeSelector"].type.atomic
