"""One entry of spec.metrics → replicas, its current value for the status, its name for messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from cluster.api.errors import ApiError
from cluster.api.objects import Object
from cluster.api.quantity import Quantity, parse
from cluster.api.selectors import of_object_form
from cluster.controllers.autoscaler.replicas import (
    NoRecommendation,
    Tolerances,
    from_total,
    from_usage,
    grouped,
    request_of,
)
from cluster.reconcile.metrics import Metrics, PodUsage
from cluster.reconcile.pods import is_ready

FAILED_REASONS = {
    "Resource": "FailedGetResourceMetric",
    "ContainerResource": "FailedGetContainerResourceMetric",
    "Pods": "FailedGetPodsMetric",
    "Object": "FailedGetObjectMetric",
    "External": "FailedGetExternalMetric",
}


@dataclass(frozen=True, slots=True)
class Measured:
    replicas: int
    name: str
    current: Object
    """The entry of status.currentMetrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is scaled."""

    namespace: str
    replicas: int
    pods: Sequence[Object]
    now: datetime
    tolerances: Tolerances


def amount(text: str | int) -> Fraction:
    """A quantity as an exact number, down to a thousandth."""
    return Fraction(parse(text).milli(), 1000)


def text_of(value: Fraction) -> str:
    return str(Quantity.of_milli(int(value * 1000)))


async def measure(metrics: Metrics, target: Target, spec: Object) -> Measured:
    """Raises NoRecommendation."""
    kind = spec["type"]
    match kind:
        case "Resource":
            return await _resource(metrics, target, spec["resource"], "")
        case "ContainerResource":
            source = spec["containerResource"]
            return await _resource(metrics, target, source, source["container"])
        case "Pods":
            return await _pods(metrics, target, spec["pods"])
        case "Object":
            return await _object(metrics, target, spec["object"])
        case "External":
            return await _external(metrics, target, spec["external"])
    raise NoRecommendation(f'unknown metric source type "{kind}"')


def failure_of(spec: Object, why: str) -> str:
    """What the failure of one metric is called among several."""
    match spec["type"]:
        case "Resource":
            return f"failed to get {spec['resource']['name']} resource metric value: {why}"
        case "ContainerResource":
            return f"failed to get {spec['containerResource']['name']} container metric value: {why}"
        case "Pods":
            return f"failed to get pods metric value: {why}"
        case "Object":
            return f"failed to get object metric value: {why}"
        case "External":
            return f"failed to get {spec['external']['metric']['name']} external metric value: {why}"
    return why


async def _resource(metrics: Metrics, target: Target, source: Object, container: str) -> Measured:
    """Raises NoRecommendation, which names the resource."""
    wanted = "utilization" if "averageUtilization" in source["target"] else "usage"
    try:
        return await _measured_resource(metrics, target, source, container)
    except NoRecommendation as error:
        raise NoRecommendation(f"failed to get {source['name']} {wanted}: {error}") from None


async def _measured_resource(metrics: Metrics, target: Target, source: Object, container: str) -> Measured:
    resource = source["name"]
    names = {pod["metadata"]["name"]: pod for pod in target.pods}
    try:
        usages = {u.name: u for u in await metrics.pods(target.namespace) if u.name in names}
    except ApiError as error:
        raise NoRecommendation(
            f"unable to get metrics for resource {resource}: "
            f"unable to fetch metrics from resource metrics API: {error.message}"
        ) from None
    values = {name: _used(usage, resource, container) for name, usage in usages.items()}
    if not values:
        raise NoRecommendation(
            f"unable to get metrics for resource {resource}: no metrics returned from resource metrics API"
        )
    groups = grouped(target.pods, usages, target.now, cpu=resource == "cpu")
    wanted = source["target"]
    utilization = wanted.get("averageUtilization")
    average = text_of(sum(values.values(), Fraction(0)) / len(values))
    if utilization is not None:
        requests = {name: request_of(pod, resource, container) for name, pod in names.items()}
        targets = {name: request * utilization / 100 for name, request in requests.items()}
        full = {name: request * max(100, utilization) / 100 for name, request in requests.items()}
    else:
        each = amount(wanted["averageValue"])
        targets = full = dict.fromkeys(names, each)
    replicas, ratio = from_usage(target.replicas, values, groups, targets, target.tolerances, full)
    current: Object = {"averageValue": average}
    suffix = ""
    if utilization is not None:
        current["averageUtilization"] = int(ratio * utilization)
        suffix = " utilization (percentage of request)"
    described: Object = {"name": resource, "current": current}
    if container:
        described["container"] = container
        status = {"type": "ContainerResource", "containerResource": described}
        return Measured(replicas, f"{resource} container resource{suffix}", status)
    return Measured(replicas, f"{resource} resource{suffix}", {"type": "Resource", "resource": described})


def _used(usage: PodUsage, resource: str, container: str) -> Fraction:
    return sum(
        (
            used.get(resource, Fraction(0))
            for name, used in usage.containers.items()
            if container in ("", name)
        ),
        Fraction(0),
    )


async def _pods(metrics: Metrics, target: Target, source: Object) -> Measured:
    metric = source["metric"]
    try:
        found = await metrics.pod_metric(target.namespace, metric["name"], _selector(metric))
    except ApiError as error:
        why = f"unable to fetch metrics from custom metrics API: {error.message}"
        raise NoRecommendation(f"unable to get metric {metric['name']}: {why}") from None
    names = [pod["metadata"]["name"] for pod in target.pods]
    values: Mapping[str, Fraction] = {name: found[name] for name in names if name in found}
    if not values:
        why = "no metrics returned from custom metrics API"
        raise NoRecommendation(f"unable to get metric {metric['name']}: {why}")
    groups = grouped(target.pods, dict.fromkeys(values), target.now, cpu=False)
    targets = dict.fromkeys(names, amount(source["target"]["averageValue"]))
    replicas, _ = from_usage(target.replicas, values, groups, targets, target.tolerances, targets)
    current = {"averageValue": text_of(sum(values.values(), Fraction(0)) / len(values))}
    status = {"type": "Pods", "pods": {"metric": metric, "current": current}}
    return Measured(replicas, f"pods metric {metric['name']}", status)


async def _object(metrics: Metrics, target: Target, source: Object) -> Measured:
    metric, described = source["metric"], source["describedObject"]
    try:
        total = await metrics.object_metric(target.namespace, described, metric["name"], _selector(metric))
    except ApiError as error:
        raise NoRecommendation(
            f"unable to get metric {metric['name']}: {described['kind']} on {target.namespace} "
            f"{described['name']}/unable to fetch metrics from custom metrics API: {error.message}"
        ) from None
    replicas, current = _from_total(target, total, source["target"])
    status = {
        "type": "Object",
        "object": {"metric": metric, "describedObject": described, "current": current},
    }
    name = f"{described['kind']} metric {metric['name']}"
    return Measured(replicas, name, status)


async def _external(metrics: Metrics, target: Target, source: Object) -> Measured:
    metric = source["metric"]
    selector = printed_selector(metric.get("selector"))
    why = ""
    values: Sequence[Fraction] = ()
    try:
        values = await metrics.external_metric(target.namespace, metric["name"], _selector(metric))
    except ApiError as error:
        why = f"unable to fetch metrics from external metrics API: {error.message}"
    if not values:
        why = why or "no metrics returned from external metrics API"
        raise NoRecommendation(
            f"unable to get external metric {target.namespace}/{metric['name']}/{selector}: {why}"
        )
    replicas, current = _from_total(target, sum(values, Fraction(0)), source["target"])
    status = {"type": "External", "external": {"metric": metric, "current": current}}
    return Measured(replicas, f"external metric {metric['name']}({selector})", status)


def printed_selector(selector: Object | None) -> str:
    """A label selector as Go prints the object."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted((selector.get("matchLabels") or {}).items()))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{each['key']},Operator:{each['operator']},"
        f"Values:[{' '.join(each.get('values') or ())}],}},"
        for each in selector.get("matchExpressions") or ()
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )


def _from_total(target: Target, total: Fraction, wanted: Object) -> tuple[int, Object]:
    ready = sum(map(is_ready, target.pods))
    per_pod = wanted.get("averageValue") is not None
    each = amount(wanted["averageValue"] if per_pod else wanted["value"])
    replicas = from_total(target.replicas, ready, total, each, target.tolerances, per_pod=per_pod)
    if per_pod:
        return replicas, {"averageValue": text_of(total / max(1, target.replicas))}
    return replicas, {"value": text_of(total)}


def _selector(metric: Object) -> str:
    return str(of_object_form(metric["selector"])) if metric.get("selector") else ""
