"""HorizontalPodAutoscaler and PodDisruptionBudget."""

from __future__ import annotations

from cluster.api.objects import Object
from cluster.api.quantity import parse
from cluster.api.validation import formats
from cluster.api.validation.conditions import validate_conditions
from cluster.api.validation.report import Report
from cluster.api.validation.selectors import validate_label_selector
from cluster.api.validation.workloads import validate_int_or_percent

_SOURCES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_WITHOUT_PODS = ("External", "Object")
_EVICTION_POLICIES = ("AlwaysAllow", "IfHealthyBudget")
_SELECT_POLICIES = ("Disabled", "Max", "Min")
_POLICY_TYPES = ("Percent", "Pods")


def validate_autoscaler(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    least, most = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if least is not None and least < 0:
        report.invalid("spec.minReplicas", least, "must be greater than or equal to 0")
    if most < 1:
        report.invalid("spec.maxReplicas", most, "must be greater than 0")
    if least is not None and most < least:
        report.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    target = spec.get("scaleTargetRef") or {}
    for field in ("kind", "name"):
        if not target.get(field):
            report.required(f"spec.scaleTargetRef.{field}")
        else:
            report.invalid_each(
                f"spec.scaleTargetRef.{field}", target[field], formats.path_segment(target[field])
            )
    for index, metric in enumerate(spec.get("metrics") or ()):
        _validate_metric(metric, f"spec.metrics[{index}]", report)
    if least == 0 and not any(m.get("type") in _WITHOUT_PODS for m in spec.get("metrics") or ()):
        why = "must specify at least one Object or External metric to support scaling to zero replicas"
        report.forbidden("spec.metrics", why)
    for direction in ("scaleUp", "scaleDown"):
        if rules := (spec.get("behavior") or {}).get(direction):
            _validate_rules(rules, f"spec.behavior.{direction}", report)


def _validate_metric(metric: Object, path: str, report: Report) -> None:
    kind = metric.get("type", "")
    if not kind:
        report.required(f"{path}.type", "must specify a metric source type")
        return
    if kind not in _SOURCES:
        report.unsupported(f"{path}.type", kind, tuple(_SOURCES))
        return
    field = _SOURCES[kind]
    source = metric.get(field)
    if source is None:
        report.required(f"{path}.{field}", "must populate information for the given metric source")
        return
    for other in _SOURCES.values():
        if other != field and other in metric:
            report.forbidden(f"{path}.{other}", "must populate the given metric source only")
    here = f"{path}.{field}"
    if kind in ("Resource", "ContainerResource"):
        if not source.get("name"):
            report.required(f"{here}.name", "must specify a resource name")
    elif not (source.get("metric") or {}).get("name"):
        report.required(f"{here}.metric.name")
    _validate_target(source.get("target") or {}, kind, f"{here}.target", report)


def _validate_target(target: Object, kind: str, path: str, report: Report) -> None:
    if not target.get("type"):
        report.required(f"{path}.type", "must specify a metric target type")
    elif target["type"] not in ("Utilization", "Value", "AverageValue"):
        report.invalid(f"{path}.type", target["type"], "must be either Utilization, Value, or AverageValue")
    utilization = target.get("averageUtilization")
    if utilization is not None and utilization < 1:
        report.invalid(f"{path}.averageUtilization", utilization, "must be greater than 0")
    for field in ("value", "averageValue"):
        if field in target and parse(target[field]).nanos <= 0:
            report.invalid(f"{path}.{field}", target[field], "must be positive")
    if kind in ("Resource", "ContainerResource"):
        if utilization is None and "averageValue" not in target:
            report.required(
                f"{path}.averageUtilization", "must set either a target raw value or a target utilization"
            )
        elif utilization is not None and "averageValue" in target:
            report.forbidden(
                f"{path}.averageValue", "may not set both a target raw value and a target utilization"
            )
    elif kind == "Pods" and "averageValue" not in target:
        report.required(f"{path}.averageValue", "must specify a positive target averageValue")
    elif "value" not in target and "averageValue" not in target:
        report.required(
            f"{path}.averageValue", "must set either a target value for metric or a per-pod target"
        )


def _validate_rules(rules: Object, path: str, report: Report) -> None:
    window = rules.get("stabilizationWindowSeconds")
    if window is not None:
        report.not_negative(f"{path}.stabilizationWindowSeconds", window)
        if window > 3600:
            report.invalid(f"{path}.stabilizationWindowSeconds", window, "must be less than or equal to 3600")
    report.one_of(f"{path}.selectPolicy", rules.get("selectPolicy"), _SELECT_POLICIES, needed=False)
    policies = rules.get("policies") or ()
    if not policies:
        report.required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(policies):
        here = f"{path}.policies[{index}]"
        if policy.get("type") not in _POLICY_TYPES:
            report.unsupported(f"{here}.type", policy.get("type", ""), _POLICY_TYPES)
        for field in ("value", "periodSeconds"):
            if policy.get(field, 0) <= 0:
                report.invalid(f"{here}.{field}", policy.get(field, 0), "must be greater than zero")
        if policy.get("periodSeconds", 0) > 1800:
            report.invalid(
                f"{here}.periodSeconds", policy["periodSeconds"], "must be less than or equal to 1800"
            )


def validate_disruption_budget(obj: Object, report: Report) -> None:
    spec = obj.get("spec") or {}
    if "minAvailable" in spec and "maxUnavailable" in spec:
        report.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    for field in ("minAvailable", "maxUnavailable"):
        if (value := spec.get(field)) is not None:
            validate_int_or_percent(value, f"spec.{field}", report)
            if isinstance(value, str) and not formats.percent(value) and int(value[:-1]) > 100:
                report.invalid(f"spec.{field}", value, "must not be greater than 100%")
    if selector := spec.get("selector"):
        validate_label_selector(selector, "spec.selector", report)
    report.one_of(
        "spec.unhealthyPodEvictionPolicy", spec.get("unhealthyPodEvictionPolicy"), _EVICTION_POLICIES,
        needed=False,
    )  # fmt: skip


def validate_disruption_budget_status(new: Object, old: Object, report: Report) -> None:
    status = new.get("status") or {}
    for field in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"):
        report.not_negative(f"status.{field}", status.get(field, 0))
    validate_conditions(status.get("conditions") or (), "status.conditions", report)
