"""Kinds that describe the cluster and its rules: namespaces, nodes, quotas, limits, priorities, leases."""

from __future__ import annotations

from cluster.api.objects import Object
from cluster.api.quantity import Quantity, parse
from cluster.api.validation import formats
from cluster.api.validation.amounts import is_extended, validate_amount
from cluster.api.validation.metadata import validate_finalizers
from cluster.api.validation.report import Report
from cluster.api.validation.scheduling import TAINT_EFFECTS, validate_tolerations

_HIGHEST_PRIORITY = 1_000_000_000
_SYSTEM_CLASSES = {"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}
_PREEMPTION = ("Never", "PreemptLowerPriority")
_SCOPES = (
    "BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass",
    "Terminating", "VolumeAttributesClass",
)  # fmt: skip
_ORDERED = (
    ("min", "max", "min", "min value {} is greater than max value {}"),
    ("min", "defaultRequest", "defaultRequest", "min value {} is greater than default request value {}"),
    ("defaultRequest", "max", "defaultRequest", "default request value {} is greater than max value {}"),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "default request value {} is greater than default limit value {}",
    ),
    ("min", "default", "min", "min value {} is greater than default value {}"),
    ("default", "max", "default", "default value {} is greater than max value {}"),
)
"""Of a limit range: (lower, higher, the field that is at fault, message)."""
_LIMIT_TYPES = ("Container", "PersistentVolumeClaim", "Pod")


def validate_namespace(obj: Object, report: Report) -> None:
    if finalizers := (obj.get("spec") or {}).get("finalizers"):
        validate_finalizers(finalizers, "spec.finalizers", report)


def validate_node(obj: Object, report: Report) -> None:
    spec = obj.get("spec") or {}
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(spec.get("taints") or ()):
        here = f"spec.taints[{index}]"
        key, effect = taint["key"], taint.get("effect", "")
        report.invalid_each(f"{here}.key", key, formats.qualified_name(key))
        if value := taint.get("value"):
            report.invalid_each(f"{here}.value", value, formats.label_value(value))
        report.one_of(f"{here}.effect", effect, TAINT_EFFECTS)
        if (key, effect) in seen:
            shown = {"Key": key, "Value": taint.get("value", ""), "Effect": effect, "TimeAdded": None}
            report.duplicate(here, shown)
        seen.add((key, effect))
    for index, block in enumerate(spec.get("podCIDRs") or filter(None, [spec.get("podCIDR")])):
        report.invalid_each(f"spec.podCIDRs[{index}]", block, formats.cidr(block))
    status = obj.get("status") or {}
    for field in ("capacity", "allocatable"):
        for name, amount in (status.get(field) or {}).items():
            validate_amount(name, amount, f"status.{field}[{name}]", report)


def validate_node_update(new: Object, old: Object, report: Report) -> None:
    validate_node(new, report)
    spec, former = new.get("spec") or {}, old.get("spec") or {}
    if former.get("podCIDRs") and spec.get("podCIDRs") != former["podCIDRs"]:
        report.forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')
    if former.get("providerID") and spec.get("providerID") != former["providerID"]:
        report.forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid')


def validate_quota(obj: Object, report: Report) -> None:
    spec = obj.get("spec") or {}
    for name, amount in (spec.get("hard") or {}).items():
        here = f"spec.hard[{name}]"
        report.invalid_each(here, name, formats.qualified_name(name))
        quantity = validate_amount(name, amount, here, report)
        if quantity.nanos % 10**9 and _is_counted(name):
            report.invalid(here, amount, "must be an integer")
    for scope in spec.get("scopes") or ():
        if scope not in _SCOPES:
            report.invalid("spec.scopes", spec["scopes"], "unsupported scope")
    for requirement in (spec.get("scopeSelector") or {}).get("matchExpressions") or ():
        if requirement.get("scopeName") not in _SCOPES:
            report.invalid(
                "spec.scopeSelector.matchExpressions.scopeName",
                requirement.get("scopeName", ""),
                "unsupported scope",
            )


def _is_counted(name: str) -> bool:
    return name.startswith("count/") or name in (
        "pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps",
        "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
    )  # fmt: skip


def validate_quota_update(new: Object, old: Object, report: Report) -> None:
    validate_quota(new, report)
    scopes, former = ((o.get("spec") or {}).get("scopes") or [] for o in (new, old))
    if sorted(scopes) != sorted(former):
        report.invalid("spec.scopes", scopes, "field is immutable")


def validate_limit_range(obj: Object, report: Report) -> None:
    types: set[str] = set()
    for index, item in enumerate((obj.get("spec") or {}).get("limits") or ()):
        here = f"spec.limits[{index}]"
        kind = item.get("type", "")
        if kind not in _LIMIT_TYPES:
            report.invalid_each(f"{here}.type", kind, formats.qualified_name(kind))
        if kind in types:
            report.duplicate(f"{here}.type", kind)
        types.add(kind)
        if kind == "Pod":
            for field in ("default", "defaultRequest"):
                if item.get(field):
                    report.forbidden(f"{here}.{field}", "may not be specified when `type` is 'Pod'")
        if kind == "PersistentVolumeClaim" and not any(
            "storage" in (item.get(f) or {}) for f in ("min", "max")
        ):
            report.required(
                f"{here}.limits",
                "either minimum or maximum storage value is required, but neither was provided",
            )
        _validate_limits(item, here, report)


def _validate_limits(item: Object, path: str, report: Report) -> None:
    amounts = {
        field: {name: parse(text) for name, text in (item.get(field) or {}).items()}
        for field in ("min", "defaultRequest", "default", "max")
    }
    names = list(dict.fromkeys(name for part in amounts.values() for name in part))
    for name in names:
        for low, high, field, message in _ORDERED:
            lower, upper = amounts[low].get(name), amounts[high].get(name)
            if lower is not None and upper is not None and lower > upper:
                report.invalid(
                    f"{path}.{field}[{name}]", str(amounts[field][name]), message.format(lower, upper)
                )
        ratio = (item.get("maxLimitRequestRatio") or {}).get(name)
        if ratio is not None and parse(ratio) < Quantity.of(1):
            report.invalid(
                f"{path}.maxLimitRequestRatio[{name}]", ratio, "ratio " + ratio + " is less than 1"
            )


def validate_priority_class(obj: Object, report: Report) -> None:
    name, value = obj["metadata"].get("name", ""), obj["value"]
    if name.startswith("system-") and _SYSTEM_CLASSES.get(name) != value:
        report.forbidden(
            "metadata.name", "priority class names with 'system-' prefix are reserved for system use only"
        )
    elif value > _HIGHEST_PRIORITY and name not in _SYSTEM_CLASSES:
        report.forbidden("value", f"maximum allowed value of a user defined priority is {_HIGHEST_PRIORITY}")
    report.one_of("preemptionPolicy", obj.get("preemptionPolicy"), _PREEMPTION, needed=False)


def validate_priority_class_update(new: Object, old: Object, report: Report) -> None:
    if new["value"] != old["value"]:
        report.forbidden("value", "may not be changed in an update.")
    report.immutable("preemptionPolicy", new.get("preemptionPolicy"), old.get("preemptionPolicy"))


def validate_lease(obj: Object, report: Report) -> None:
    spec = obj.get("spec") or {}
    if (seconds := spec.get("leaseDurationSeconds")) is not None and seconds <= 0:
        report.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    if (transitions := spec.get("leaseTransitions")) is not None and transitions < 0:
        report.invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0")
    if spec.get("preferredHolder") and not spec.get("strategy"):
        report.forbidden("spec.preferredHolder", "may only be specified when `strategy` is defined")


def validate_runtime_class(obj: Object, report: Report) -> None:
    handler = obj.get("handler", "")
    report.invalid_each("handler", handler, formats.dns_label(handler))
    if scheduling := obj.get("scheduling"):
        validate_tolerations(scheduling.get("tolerations") or [], "scheduling.tolerations", report)
    for name, amount in ((obj.get("overhead") or {}).get("podFixed") or {}).items():
        if "/" in name and not is_extended(name):
            report.invalid(
                f"overhead.podFixed[{name}]", name, "must be a standard resource type or fully qualified"
            )
        validate_amount(name, amount, f"overhead.podFixed[{name}]", report)


def validate_runtime_class_update(new: Object, old: Object, report: Report) -> None:
    validate_runtime_class(new, report)
    report.immutable("handler", new.get("handler"), old.get("handler"))
