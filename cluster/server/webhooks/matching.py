"""Whether a write is one that a webhook or policy asked for: rules, selectors, equivalent versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cluster.api.objects import Key
from cluster.api.resource import Resource
from cluster.api.selectors import of_object_form
from cluster.server.admission.request import Request, Setting

EXEMPT = frozenset(
    f"{plural}.admissionregistration.k8s.io"
    for plural in (
        "mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "mutatingwebhookconfigurations",
        "validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations",
    )
)  # fmt: skip
"""What could lock its own keeper out is never asked about."""

Rules = Sequence[Mapping[str, Any]]


def matched_version(setting: Setting, request: Request, rules: Rules, *, equivalent: bool) -> Resource | None:
    """The version of the kind in which the rules want the object: the one of the request if they name it,
    else, where equivalent ones count, the first other one that they name. None if they name none."""
    asked = request.call.resource
    if any(_names(rule, asked, request) for rule in rules):
        return asked
    if equivalent:
        for other in _others(setting, asked):
            if any(_names(rule, other, request) for rule in rules):
                return other
    return None


def _others(setting: Setting, resource: Resource) -> Iterable[Resource]:
    stored = setting.registry.storage_of(resource)
    for each in setting.registry.all():
        same = each.kind == resource.kind and each is not resource
        if same and setting.registry.storage_of(each) == stored:
            yield each


def _names(rule: Mapping[str, Any], resource: Resource, request: Request) -> bool:
    return (
        _one_of(rule.get("operations"), request.operation.value)
        and _one_of(rule.get("apiGroups"), resource.group)
        and _one_of(rule.get("apiVersions"), resource.version)
        and _in_scope(rule.get("scope", "*"), resource, request)
        and _is_resource(rule.get("resources") or (), resource.plural, request.subresource)
        and _is_named(rule.get("resourceNames"), request.name)
    )


def _one_of(values: Sequence[str] | None, value: str) -> bool:
    return values is not None and ("*" in values or value in values)


def _in_scope(scope: str, resource: Resource, request: Request) -> bool:
    if scope == "*":
        return True
    namespaced = resource.namespaced and bool(request.namespace)
    return namespaced is (scope == "Namespaced")


def _is_resource(wanted: Sequence[str], plural: str, subresource: str) -> bool:
    for each in wanted:
        if each == "*/*":
            return True
        name, _, sub = each.partition("/")
        if name in ("*", plural) and sub in ("*", subresource) and (sub == subresource or "/" in each):
            return True
    return False


def _is_named(names: Sequence[str] | None, name: str) -> bool:
    return not names or name in names


def selected(setting: Setting, request: Request, hook: Mapping[str, Any]) -> bool:
    """Whether namespaceSelector and objectSelector let the write through."""
    return _namespace_selected(setting, request, hook.get("namespaceSelector")) and _object_selected(
        request, hook.get("objectSelector")
    )


def _namespace_selected(setting: Setting, request: Request, selector: Mapping[str, Any] | None) -> bool:
    if not selector:
        return True
    if request.qualified == "namespaces":
        labels = _labels(request.object) if request.object else _labels(request.old)
    elif request.namespace:
        entry = setting.store.get("namespaces", Key("", request.namespace))
        labels = _labels(entry.object) if entry is not None else {}
    else:
        return True
    return of_object_form(selector).matches(labels)


def _object_selected(request: Request, selector: Mapping[str, Any] | None) -> bool:
    if not selector:
        return True
    parsed = of_object_form(selector)
    return any(parsed.matches(_labels(obj)) for obj in (request.object, request.old) if obj)


def _labels(obj: Mapping[str, Any] | None) -> Mapping[str, str]:
    labels: Mapping[str, str] = ((obj or {}).get("metadata") or {}).get("labels") or {}
    return labels
