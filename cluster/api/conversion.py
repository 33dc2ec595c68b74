"""The kinds that are served in two shapes over one stored object, and how one becomes the other.

- HorizontalPodAutoscaler: stored as autoscaling/v2. autoscaling/v1 has one field for CPU utilisation; what
  it can't say (other metrics, conditions, behaviour) travels in annotations, as Kubernetes does it, so that
  a client of v1 can write back what it read without loss.
- Event: stored as the core kind; events.k8s.io only names the fields differently.

Functions give a new object that may share unchanged parts with the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from cluster.api.objects import Object

_V1, _V2 = "autoscaling/v1", "autoscaling/v2"
_PREFIX = "autoscaling.alpha.kubernetes.io/"
_METRICS = _PREFIX + "metrics"
_CURRENT_METRICS = _PREFIX + "current-metrics"
_CONDITIONS = _PREFIX + "conditions"
_BEHAVIOR = _PREFIX + "behavior"
_DEFAULT_CPU_UTILIZATION = 80


def autoscaler_to_v1(obj: Object) -> Object:
    spec: Object = dict(obj.get("spec") or {})
    annotations = {
        k: v for k, v in (obj["metadata"].get("annotations") or {}).items() if not k.startswith(_PREFIX)
    }
    others = []
    for metric in spec.pop("metrics", None) or ():
        utilization = _cpu(metric, "target")
        if utilization is not None:
            spec["targetCPUUtilizationPercentage"] = utilization
        else:
            others.append(_metric_to_v1(metric, "target"))
    if others:
        annotations[_METRICS] = _text(others)
    if behavior := spec.pop("behavior", None):
        annotations[_BEHAVIOR] = _text(behavior)
    out = obj | {"apiVersion": _V1, "spec": spec}
    if (status := obj.get("status")) is not None:
        out["status"] = _status_to_v1(status, annotations)
    return _with_annotations(out, annotations)


def _status_to_v1(status: Object, annotations: dict[str, str]) -> Object:
    status = dict(status)
    current = status.pop("currentMetrics", None) or ()
    for metric in current:
        utilization = _cpu(metric, "current")
        if utilization is not None:
            status["currentCPUUtilizationPercentage"] = utilization
    if current:
        annotations[_CURRENT_METRICS] = _text([_metric_to_v1(metric, "current") for metric in current])
    if conditions := status.pop("conditions", None):
        annotations[_CONDITIONS] = _text(conditions)
    return {"currentReplicas": 0, "desiredReplicas": 0} | status


def autoscaler_to_v2(obj: Object) -> Object:
    spec: Object = dict(obj.get("spec") or {})
    annotations = dict(obj["metadata"].get("annotations") or {})
    metrics = []
    utilization = spec.pop("targetCPUUtilizationPercentage", None)
    if utilization is not None:
        metrics.append(_cpu_metric("target", utilization))
    metrics += [_metric_to_v2(m, "target") for m in _parsed(annotations.pop(_METRICS, ""))]
    spec["metrics"] = metrics or [_cpu_metric("target", _DEFAULT_CPU_UTILIZATION)]
    if behavior := _parsed(annotations.pop(_BEHAVIOR, "")):
        spec["behavior"] = behavior
    out = obj | {"apiVersion": _V2, "spec": spec}
    current = _parsed(annotations.pop(_CURRENT_METRICS, ""))
    conditions = _parsed(annotations.pop(_CONDITIONS, ""))
    if "status" in obj:
        status = dict(obj["status"] or {})
        utilization = status.pop("currentCPUUtilizationPercentage", None)
        if current:
            status["currentMetrics"] = [_metric_to_v2(m, "current") for m in current]
        elif utilization is not None:
            status["currentMetrics"] = [_cpu_metric("current", utilization)]
        if conditions:
            status["conditions"] = conditions
        out["status"] = status
    return _with_annotations(out, annotations)


def _cpu(metric: Mapping[str, Any], side: str) -> int | None:
    """The CPU utilisation, if the metric is no more than that. `side` is "target" or "current"."""
    if metric.get("type") != "Resource":
        return None
    source = metric.get("resource") or {}
    found: int | None = (source.get(side) or {}).get("averageUtilization")
    return found if source.get("name") == "cpu" else None


def _cpu_metric(side: str, utilization: int) -> Object:
    value: Object = {"averageUtilization": utilization}
    if side == "target":
        value = {"type": "Utilization"} | value
    return {"type": "Resource", "resource": {"name": "cpu", side: value}}


_SOURCES = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}
_FLAT = {
    "averageUtilization": "AverageUtilization",
    "averageValue": "AverageValue",
    "value": "Value",
}


def _metric_to_v1(metric: Object, side: str) -> Object:
    source_name = _SOURCES.get(metric.get("type", ""), "")
    source = metric.get(source_name)
    if not source:
        return metric
    flat = {k: v for k, v in source.items() if k not in (side, "metric", "describedObject")}
    if identifier := source.get("metric"):
        flat["metricName"] = identifier.get("name", "")
        if "selector" in identifier:
            flat["metricSelector" if source_name == "external" else "selector"] = identifier["selector"]
    if described := source.get("describedObject"):
        flat["target"] = described
    for name, value in (source.get(side) or {}).items():
        if name in _FLAT:
            flat[_flat_name(source_name, side, name)] = value
    return {"type": metric["type"], source_name: flat}


def _metric_to_v2(metric: Object, side: str) -> Object:
    source_name = _SOURCES.get(metric.get("type", ""), "")
    flat = dict(metric.get(source_name) or {})
    if not flat:
        return metric
    values = {
        name: flat.pop(_flat_name(source_name, side, name))
        for name in _FLAT
        if _flat_name(source_name, side, name) in flat
    }
    source: Object = {}
    if "metricName" in flat:
        source["metric"] = {"name": flat.pop("metricName")}
        for name in ("selector", "metricSelector"):
            if name in flat:
                source["metric"]["selector"] = flat.pop(name)
    if source_name == "object" and "target" in flat:
        source["describedObject"] = flat.pop("target")
    source |= flat
    source[side] = ({"type": _target_type(values)} if side == "target" else {}) | values
    return {"type": metric["type"], source_name: source}


def _flat_name(source_name: str, side: str, name: str) -> str:
    """ "targetAverageValue"; for the object source the average keeps its own name."""
    if source_name == "object" and name == "averageValue":
        return name
    return side + _FLAT[name]


def _target_type(values: Mapping[str, Any]) -> str:
    if "averageUtilization" in values:
        return "Utilization"
    return "AverageValue" if "averageValue" in values else "Value"


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _parsed(text: str) -> Any:
    """What an annotation holds; nothing, if it was left out or isn't JSON."""
    if not text:
        return []
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return []


def _with_annotations(obj: Object, annotations: dict[str, str]) -> Object:
    metadata = dict(obj["metadata"])
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    obj["metadata"] = metadata
    return obj


_EVENT_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_EVENT_NAMES_BACK = {new: old for old, new in _EVENT_NAMES.items()}


def event_to_events_group(obj: Object) -> Object:
    renamed = {_EVENT_NAMES.get(name, name): value for name, value in obj.items()}
    return {"eventTime": None} | renamed | {"apiVersion": "events.k8s.io/v1"}


def event_to_core(obj: Object) -> Object:
    renamed = {_EVENT_NAMES_BACK.get(n, n): value for n, value in obj.items() if value is not None}
    return renamed | {"apiVersion": "v1"}


CONVERSIONS: dict[tuple[str, str, str], Callable[[Object], Object]] = {
    ("HorizontalPodAutoscaler", _V2, _V1): autoscaler_to_v1,
    ("HorizontalPodAutoscaler", _V1, _V2): autoscaler_to_v2,
    ("Event", "v1", "events.k8s.io/v1"): event_to_events_group,
    ("Event", "events.k8s.io/v1", "v1"): event_to_core,
}
"""(kind, source apiVersion, target apiVersion) → function."""
