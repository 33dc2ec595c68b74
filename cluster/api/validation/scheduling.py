"""What a pod says about where it runs: tolerations, affinity, topology spread."""

from __future__ import annotations

from typing import Any

from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.metadata import validate_labels
from cluster.api.validation.report import POSITIVE, Report
from cluster.api.validation.selectors import (
    validate_label_selector,
    validate_node_selector,
    validate_node_selector_term,
)

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_ACTIONS = ("DoNotSchedule", "ScheduleAnyway")
_INCLUSION = ("Honor", "Ignore")


def validate_placement(spec: Object, path: str, report: Report) -> None:
    if labels := spec.get("nodeSelector"):
        validate_labels(labels, f"{path}.nodeSelector", report)
    if affinity := spec.get("affinity"):
        _validate_affinity(affinity, f"{path}.affinity", report)
    if constraints := spec.get("topologySpreadConstraints"):
        _validate_spread(constraints, f"{path}.topologySpreadConstraints", report)
    if tolerations := spec.get("tolerations"):
        validate_tolerations(tolerations, f"{path}.tolerations", report)


def validate_tolerations(tolerations: list[Object], path: str, report: Report) -> None:
    for index, toleration in enumerate(tolerations):
        here = f"{path}[{index}]"
        key, operator = toleration.get("key"), toleration.get("operator", "")
        if key and (wrong := formats.qualified_name(key)):
            report.invalid_each(f"{here}.key", key, wrong)
        if not key and operator != "Exists":
            report.invalid(
                f"{here}.operator",
                operator,
                'operator must be Exists when `key` is empty, which means "match all values and all keys"',
            )
        effect = toleration.get("effect", "")
        if "tolerationSeconds" in toleration and effect != "NoExecute":
            report.invalid(
                f"{here}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"
            )
        if operator in ("", "Equal"):
            value = toleration.get("value", "")
            report.invalid_each(f"{here}.operator", value, formats.label_value(value))
        elif operator == "Exists":
            if value := toleration.get("value"):
                report.invalid(f"{here}.operator", value, "value must be empty when `operator` is 'Exists'")
        else:
            report.unsupported(f"{here}.operator", operator, ("Equal", "Exists"))
        if effect and effect not in TAINT_EFFECTS:
            report.unsupported(f"{here}.effect", effect, TAINT_EFFECTS)


def _validate_affinity(affinity: Object, path: str, report: Report) -> None:
    if node := affinity.get("nodeAffinity"):
        here = f"{path}.nodeAffinity"
        if required := node.get("requiredDuringSchedulingIgnoredDuringExecution"):
            validate_node_selector(required, f"{here}.requiredDuringSchedulingIgnoredDuringExecution", report)
        preferred = node.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        for index, choice in enumerate(preferred):
            place = f"{here}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
            _validate_weight(choice, place, report)
            validate_node_selector_term(choice.get("preference") or {}, f"{place}.preference", report)
    for kind in ("podAffinity", "podAntiAffinity"):
        if pods := affinity.get(kind):
            _validate_pod_affinity(pods, f"{path}.{kind}", report)


def _validate_pod_affinity(affinity: Object, path: str, report: Report) -> None:
    for index, term in enumerate(affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()):
        here = f"{path}.requiredDuringSchedulingIgnoredDuringExecution[{index}]"
        _validate_pod_affinity_term(term, here, report)
    for index, choice in enumerate(affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
        here = f"{path}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
        _validate_weight(choice, here, report)
        _validate_pod_affinity_term(choice.get("podAffinityTerm") or {}, f"{here}.podAffinityTerm", report)


def _validate_weight(choice: Object, path: str, report: Report) -> None:
    if not 1 <= choice["weight"] <= 100:
        report.invalid(f"{path}.weight", choice["weight"], "must be in the range 1-100")


def _validate_pod_affinity_term(term: Object, path: str, report: Report) -> None:
    for name in ("labelSelector", "namespaceSelector"):
        if selector := term.get(name):
            validate_label_selector(selector, f"{path}.{name}", report)
    for index, namespace in enumerate(term.get("namespaces") or ()):
        report.invalid_each(f"{path}.namespaces[{index}]", namespace, formats.dns_label(namespace))
    if key := term.get("topologyKey"):
        report.invalid_each(f"{path}.topologyKey", key, formats.qualified_name(key))
    else:
        report.required(f"{path}.topologyKey", "can not be empty")


def _validate_spread(constraints: list[Object], path: str, report: Report) -> None:
    seen: set[tuple[Any, Any]] = set()
    for index, constraint in enumerate(constraints):
        here = f"{path}[{index}]"
        if constraint["maxSkew"] <= 0:
            report.invalid(f"{here}.maxSkew", constraint["maxSkew"], POSITIVE)
        key, action = constraint.get("topologyKey", ""), constraint.get("whenUnsatisfiable", "")
        if key:
            report.invalid_each(f"{here}.topologyKey", key, formats.qualified_name(key))
        else:
            report.required(f"{here}.topologyKey", "can not be empty")
        report.one_of(f"{here}.whenUnsatisfiable", action, _ACTIONS)
        if (key, action) in seen:
            report.duplicate(f"{here}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}")
        seen.add((key, action))
        if "minDomains" in constraint:
            _validate_domains(constraint, here, report)
        for policy in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            report.one_of(f"{here}.{policy}", constraint.get(policy), _INCLUSION, needed=False)
        if selector := constraint.get("labelSelector"):
            validate_label_selector(selector, f"{here}.labelSelector", report)


def _validate_domains(constraint: Object, path: str, report: Report) -> None:
    if constraint["minDomains"] <= 0:
        report.invalid(f"{path}.minDomains", constraint["minDomains"], POSITIVE)
    if constraint.get("whenUnsatisfiable") != "DoNotSchedule":
        report.invalid(
            f"{path}.minDomains",
            constraint["minDomains"],
            "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not "
            f"{constraint.get('whenUnsatisfiable', '')}",
        )
