"""RBAC: roles and their bindings; service accounts."""

from __future__ import annotations

from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.report import Report
from cluster.api.validation.selectors import validate_label_selector

_GROUP = "rbac.authorization.k8s.io"


def validate_role(obj: Object, report: Report) -> None:
    for index, rule in enumerate(obj.get("rules") or ()):
        _validate_rule(rule, f"rules[{index}]", report, namespaced=True)


def validate_cluster_role(obj: Object, report: Report) -> None:
    for index, rule in enumerate(obj.get("rules") or ()):
        _validate_rule(rule, f"rules[{index}]", report, namespaced=False)
    if (aggregation := obj.get("aggregationRule")) is not None:
        selectors = aggregation.get("clusterRoleSelectors") or ()
        if not selectors:
            report.required(
                "aggregationRule.clusterRoleSelectors",
                "at least one clusterRoleSelector required if aggregationRule is non-nil",
            )
        for index, selector in enumerate(selectors):
            here = f"aggregationRule.clusterRoleSelectors[{index}]"
            validate_label_selector(selector, here, report)


def _validate_rule(rule: Object, path: str, report: Report, *, namespaced: bool) -> None:
    if not rule.get("verbs"):
        report.required(f"{path}.verbs", "verbs must contain at least one value")
    if urls := rule.get("nonResourceURLs"):
        if namespaced:
            report.invalid(
                f"{path}.nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs"
            )
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            report.invalid(
                f"{path}.nonResourceURLs",
                urls,
                "rules cannot apply to both regular resources and non-resource URLs",
            )
        return
    if not rule.get("apiGroups"):
        report.required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        report.required(f"{path}.resources", "resource rules must supply at least one resource")


def validate_role_binding(obj: Object, report: Report) -> None:
    _validate_binding(obj, ("Role", "ClusterRole"), report, namespaced=True)


def validate_cluster_role_binding(obj: Object, report: Report) -> None:
    _validate_binding(obj, ("ClusterRole",), report, namespaced=False)


def _validate_binding(obj: Object, roles: tuple[str, ...], report: Report, *, namespaced: bool) -> None:
    reference = obj["roleRef"]
    if reference.get("apiGroup") != _GROUP:
        report.unsupported("roleRef.apiGroup", reference.get("apiGroup", ""), (_GROUP,))
    if reference.get("kind") not in roles:
        report.unsupported("roleRef.kind", reference.get("kind", ""), roles)
    if not reference.get("name"):
        report.required("roleRef.name")
    else:
        report.invalid_each("roleRef.name", reference["name"], formats.path_segment(reference["name"]))
    for index, subject in enumerate(obj.get("subjects") or ()):
        _validate_subject(subject, f"subjects[{index}]", namespaced, report)


def _validate_subject(subject: Object, path: str, namespaced: bool, report: Report) -> None:
    name, kind, group = subject["name"], subject["kind"], subject.get("apiGroup", "")
    if not name:
        report.required(f"{path}.name")
    if kind == "ServiceAccount":
        if name:
            report.invalid_each(f"{path}.name", name, formats.dns_subdomain(name))
        if group:
            report.unsupported(f"{path}.apiGroup", group, ("",))
        if not namespaced and not subject.get("namespace"):
            report.required(f"{path}.namespace")
    elif kind in ("User", "Group"):
        if group != _GROUP:
            report.unsupported(f"{path}.apiGroup", group, (_GROUP,))
    else:
        report.unsupported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group"))


def validate_role_binding_update(new: Object, old: Object, report: Report) -> None:
    validate_role_binding(new, report)
    _validate_same_role(new, old, report)


def validate_cluster_role_binding_update(new: Object, old: Object, report: Report) -> None:
    validate_cluster_role_binding(new, report)
    _validate_same_role(new, old, report)


def _validate_same_role(new: Object, old: Object, report: Report) -> None:
    if new["roleRef"] != old["roleRef"]:
        reference = new["roleRef"]
        shown = {name[0].upper() + name[1:]: reference.get(name, "") for name in ("apiGroup", "kind", "name")}
        shown = {"APIGroup": shown.pop("ApiGroup")} | shown
        report.invalid("roleRef", shown, "cannot change roleRef")
