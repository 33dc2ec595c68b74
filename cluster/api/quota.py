"""What an object counts for in a ResourceQuota: pure, shared by admission and the quota controller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cluster.api.objects import Object
from cluster.api.quantity import Quantity, parse
from cluster.api.resource import Resource

Usage = dict[str, Quantity]
ONE = Quantity.of(1)

_COUNTED_BY_NAME = frozenset(
    {
        "configmaps",
        "secrets",
        "replicationcontrollers",
        "resourcequotas",
        "services",
        "persistentvolumeclaims",
        "pods",
    }
)
_COMPUTE = ("cpu", "memory", "ephemeral-storage")


def usage_of(resource: Resource, obj: Mapping[str, Any]) -> Usage:
    """Everything `obj` counts for. Pods that have ended count for nothing."""
    qualified = resource.qualified
    if qualified == "pods" and _ended(obj):
        return {}
    usage: Usage = {f"count/{qualified}": ONE}
    if qualified in _COUNTED_BY_NAME:
        usage[qualified] = ONE
    if qualified == "pods":
        usage |= _pod_usage(obj["spec"])
    elif qualified == "services":
        usage |= _service_usage(obj["spec"])
    elif qualified == "persistentvolumeclaims":
        usage |= _claim_usage(obj["spec"])
    return usage


def _ended(pod: Mapping[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _pod_usage(spec: Mapping[str, Any]) -> Usage:
    usage: Usage = {}
    for field in ("requests", "limits"):
        for name, amount in pod_total(spec, field).items():
            if field == "limits" and name not in _COMPUTE:
                continue
            usage[f"{field}.{name}"] = amount
            if field == "requests" and (name in _COMPUTE or name.startswith("hugepages-")):
                usage[name] = amount
    return usage


def pod_total(spec: Mapping[str, Any], field: str) -> Usage:
    """A pod's requests or limits as a whole: containers and sidecars together, or the largest init
    container on top of the sidecars started before it, plus the overhead."""
    total: Usage = {}
    for container in spec.get("containers") or ():
        _add(total, _resources(container, field))
    sidecars: Usage = {}
    peak: Usage = {}
    for container in spec.get("initContainers") or ():
        needs = dict(_resources(container, field))
        if container.get("restartPolicy") == "Always":
            _add(sidecars, needs)
            _add(total, needs)
            _raise_to(peak, sidecars)
        else:
            _add(needs, sidecars)
            _raise_to(peak, needs)
    _raise_to(total, peak)
    pod_level = (spec.get("resources") or {}).get(field)
    if pod_level:
        total |= {name: parse(text) for name, text in pod_level.items()}
    if total or field == "requests":
        overhead = {name: parse(text) for name, text in (spec.get("overhead") or {}).items()}
        _add(total, {k: v for k, v in overhead.items() if field == "requests" or k in total})
    return total


def _resources(container: Mapping[str, Any], field: str) -> Usage:
    found = (container.get("resources") or {}).get(field) or {}
    return {name: parse(text) for name, text in found.items()}


def _add(total: Usage, more: Mapping[str, Quantity]) -> None:
    for name, amount in more.items():
        total[name] = total[name] + amount if name in total else amount


def _raise_to(total: Usage, floor: Mapping[str, Quantity]) -> None:
    for name, amount in floor.items():
        if name not in total or amount > total[name]:
            total[name] = amount


def _service_usage(spec: Mapping[str, Any]) -> Usage:
    ports = Quantity.of(len(spec.get("ports") or ()))
    if spec.get("type") == "NodePort":
        return {"services.nodeports": ports}
    if spec.get("type") == "LoadBalancer":
        nodeports = ports if spec.get("allocateLoadBalancerNodePorts", True) else Quantity(0)
        return {"services.loadbalancers": ONE, "services.nodeports": nodeports}
    return {}


def _claim_usage(spec: Mapping[str, Any]) -> Usage:
    request = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    amount = parse(request) if request is not None else Quantity(0)
    usage: Usage = {"requests.storage": amount}
    storage_class = spec.get("storageClassName")
    if storage_class:
        prefix = f"{storage_class}.storageclass.storage.k8s.io"
        usage[f"{prefix}/requests.storage"] = amount
        usage[f"{prefix}/persistentvolumeclaims"] = ONE
    return usage


def in_scope(quota_spec: Mapping[str, Any], resource: Resource, obj: Mapping[str, Any]) -> bool:
    """Whether the quota's scopes take in this object; scopes other than volume attributes are of pods."""
    scopes: list[Mapping[str, Any]] = [
        {"scopeName": scope, "operator": "Exists"} for scope in quota_spec.get("scopes") or ()
    ]
    scopes += (quota_spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    if not scopes:
        return True
    if resource.qualified != "pods":
        return False
    return all(_matches(scope, obj) for scope in scopes)


def _matches(scope: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    spec, name = pod["spec"], scope["scopeName"]
    if name in ("Terminating", "NotTerminating"):
        has_deadline = spec.get("activeDeadlineSeconds") is not None
        return has_deadline if name == "Terminating" else not has_deadline
    if name in ("BestEffort", "NotBestEffort"):
        return _is_best_effort(spec) if name == "BestEffort" else not _is_best_effort(spec)
    if name == "PriorityClass":
        return _matches_class(scope, spec.get("priorityClassName", ""))
    if name == "CrossNamespacePodAffinity":
        return _crosses_namespaces(spec.get("affinity") or {})
    return False


def _is_best_effort(spec: Mapping[str, Any]) -> bool:
    return not any(
        pod_total(spec, field).get(name) for field in ("requests", "limits") for name in ("cpu", "memory")
    )


def _matches_class(scope: Mapping[str, Any], name: str) -> bool:
    operator, values = scope.get("operator", "Exists"), scope.get("values") or ()
    if operator == "In":
        return name in values
    if operator == "NotIn":
        return name not in values
    return bool(name) if operator == "Exists" else not name


def _crosses_namespaces(affinity: Mapping[str, Any]) -> bool:
    for side in ("podAffinity", "podAntiAffinity"):
        found = affinity.get(side) or {}
        terms = [*(found.get("requiredDuringSchedulingIgnoredDuringExecution") or ())]
        terms += [
            weighted["podAffinityTerm"]
            for weighted in found.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        ]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


def total(usages: Iterable[Mapping[str, Quantity]], names: Iterable[str]) -> Usage:
    """The sum of `usages` for the resources in `names`; those that nothing uses are zero."""
    sums: Usage = {name: Quantity(0) for name in names}
    for usage in usages:
        for name in sums:
            if name in usage:
                sums[name] = sums[name] + usage[name]
    return sums


def printed(usage: Mapping[str, Quantity]) -> Object:
    """As in ResourceQuota.status."""
    return {name: str(amount) for name, amount in sorted(usage.items())}
