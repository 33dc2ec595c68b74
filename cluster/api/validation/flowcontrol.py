"""FlowSchema and PriorityLevelConfiguration."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.report import Report

_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_HIGHEST_PRECEDENCE = 10000
_MOST_QUEUES = 10_000_000
_HASH_BITS = 60
_SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}
_NAMESPACE = "each member of this list must be '*' or a DNS-1123 label; "
_SHARES = "must be a non-negative integer"


def validate_flow_schema(obj: Object, report: Report) -> None:
    spec = obj.get("spec") or {}
    precedence = spec.get("matchingPrecedence", 0)
    path = "spec.matchingPrecedence"
    if precedence <= 0:
        report.invalid(path, precedence, "must be a positive value")
    if precedence > _HIGHEST_PRECEDENCE:
        report.invalid(path, precedence, f"must not be greater than {_HIGHEST_PRECEDENCE}")
    if precedence == 1 and obj["metadata"].get("name") != "exempt":
        report.invalid(path, precedence, "only the schema named 'exempt' may have matchingPrecedence 1")
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in ("ByNamespace", "ByUser"):
        shown = {"Type": method.get("type", "")}
        report.unsupported("spec.distinguisherMethod.type", shown, ("ByNamespace", "ByUser"))
    level = (spec.get("priorityLevelConfiguration") or {}).get("name", "")
    if level:
        report.invalid_each("spec.priorityLevelConfiguration.name", level, formats.dns_subdomain(level))
    else:
        report.required("spec.priorityLevelConfiguration.name", "must reference a priority level")
    for index, rule in enumerate(spec.get("rules") or ()):
        _validate_rule(rule, f"spec.rules[{index}]", report)


def _validate_rule(rule: Object, path: str, report: Report) -> None:
    subjects = rule.get("subjects") or ()
    if not subjects:
        report.required(f"{path}.subjects", "subjects must contain at least one value")
    for index, subject in enumerate(subjects):
        _validate_subject(subject, f"{path}.subjects[{index}]", report)
    resources, paths = rule.get("resourceRules") or (), rule.get("nonResourceRules") or ()
    if not resources and not paths:
        report.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for index, resource in enumerate(resources):
        _validate_resources(resource, f"{path}.resourceRules[{index}]", report)
    for index, url in enumerate(paths):
        _validate_paths(url, f"{path}.nonResourceRules[{index}]", report)


def _validate_subject(subject: Object, path: str, report: Report) -> None:
    kind = subject.get("kind", "")
    if kind not in _SUBJECTS:
        report.unsupported(f"{path}.kind", kind, tuple(_SUBJECTS))
        return
    field = _SUBJECTS[kind]
    named, here = subject.get(field), f"{path}.{field}"
    if named is None:
        report.required(here, f"{field} is required when subject kind is '{kind}'")
    else:
        _validate_named(named, kind, here, report)
    for other in ("serviceAccount", "user", "group"):
        if other != field and other in subject:
            wanted = other[0].upper() + other[1:]
            why = f"{other} is forbidden when subject kind is not '{wanted}'"
            report.forbidden(f"{path}.{other}", why)


def _validate_named(named: Object, kind: str, path: str, report: Report) -> None:
    name = named.get("name", "")
    if not name:
        report.required(f"{path}.name")
    if kind != "ServiceAccount":
        return
    if name and name != "*":
        report.invalid_each(f"{path}.name", name, formats.dns_subdomain(name))
    if namespace := named.get("namespace"):
        report.invalid_each(f"{path}.namespace", namespace, formats.dns_label(namespace))
    else:
        report.required(f"{path}.namespace", "must specify namespace for service account")


def _validate_verbs(rule: Object, path: str, report: Report) -> None:
    verbs = rule.get("verbs") or []
    if not verbs:
        report.required(f"{path}.verbs", "verbs must contain at least one value")
    elif "*" in verbs:
        _validate_alone(verbs, f"{path}.verbs", "verbs", report)
    elif not set(verbs) <= set(_VERBS):
        report.unsupported(f"{path}.verbs", verbs, _VERBS)


def _validate_alone(values: Sequence[str], path: str, word: str, report: Report) -> None:
    if len(values) > 1 and "*" in values:
        report.invalid(path, values, f"if '*' is present, must not specify other {word}")


def _validate_resources(rule: Object, path: str, report: Report) -> None:
    _validate_verbs(rule, path, report)
    for field, one, many in (
        ("apiGroups", "api group", "api groups"),
        ("resources", "resource", "resources"),
    ):
        values = rule.get(field) or []
        if not values:
            report.required(f"{path}.{field}", f"resource rules must supply at least one {one}")
        _validate_alone(values, f"{path}.{field}", many, report)
    namespaces = rule.get("namespaces") or []
    here = f"{path}.namespaces"
    if not namespaces and not rule.get("clusterScope"):
        why = "resource rules that are not cluster scoped must supply at least one namespace"
        report.required(here, why)
    elif "*" in namespaces:
        _validate_alone(namespaces, here, "namespaces", report)
    else:
        for index, name in enumerate(namespaces):
            report.invalid_each(
                f"{here}[{index}]", name, (_NAMESPACE + why for why in formats.dns_label(name))
            )


def _validate_paths(rule: Object, path: str, report: Report) -> None:
    _validate_verbs(rule, path, report)
    urls = rule.get("nonResourceURLs") or []
    here = f"{path}.nonResourceURLs"
    if not urls:
        report.required(here, "nonResourceURLs must contain at least one value")
    elif "*" in urls:
        _validate_alone(urls, here, "non-resource URLs", report)
    else:
        for index, url in enumerate(urls):
            if wrong := _wrong_url(url):
                report.invalid(f"{here}[{index}]", url, wrong)


def _wrong_url(url: str) -> str:
    if not url:
        return "must not be empty"
    if url == "/":
        return ""
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    if url.count("*") > 1 or ("*" in url and not url.endswith("/*")):
        return "wildcard can only do suffix matching"
    return ""


def validate_status(new: Object, old: Object, report: Report) -> None:
    """Of both kinds."""
    seen: set[str] = set()
    for index, condition in enumerate((new.get("status") or {}).get("conditions") or ()):
        here, kind = f"status.conditions[{index}].type", condition.get("type", "")
        if kind in seen:
            report.duplicate(here, kind)
        seen.add(kind)
        if not kind:
            report.required(here, "must not be empty")


def validate_priority_level(obj: Object, report: Report) -> None:
    spec = obj.get("spec") or {}
    kind = spec.get("type", "")
    if (obj["metadata"].get("name") == "exempt") != (kind == "Exempt"):
        report.invalid("spec.type", kind, "type must be 'Exempt' if and only if name is 'exempt'")
    match kind:
        case "Exempt":
            if "limited" in spec:
                report.forbidden("spec.limited", "must be nil if the type is not Limited")
            if "exempt" in spec:
                _validate_shares(spec["exempt"], "spec.exempt", report)
        case "Limited":
            if "exempt" in spec:
                report.forbidden("spec.exempt", "must be nil if the type is Limited")
            if "limited" not in spec:
                report.required("spec.limited", "must not be empty when type is Limited")
            else:
                _validate_limited(spec["limited"], "spec.limited", report)
        case _:
            report.unsupported("spec.type", kind, ("Exempt", "Limited"))


def _validate_shares(limits: Object, path: str, report: Report) -> None:
    shares, lendable = limits.get("nominalConcurrencyShares"), limits.get("lendablePercent")
    if shares is not None and shares < 0:
        report.invalid(f"{path}.nominalConcurrencyShares", shares, _SHARES)
    if lendable is not None:
        report.within(f"{path}.lendablePercent", lendable, 0, 100)


def _validate_limited(limits: Object, path: str, report: Report) -> None:
    _validate_shares(limits, path, report)
    borrowing = limits.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        why = "if specified, must be a non-negative integer"
        report.invalid(f"{path}.borrowingLimitPercent", borrowing, why)
    response = limits.get("limitResponse") or {}
    kind, queuing = response.get("type", ""), response.get("queuing")
    here = f"{path}.limitResponse"
    if kind == "Reject":
        if queuing is not None:
            why = "must be nil if limited.limitResponse.type is not Limited"
            report.forbidden(f"{here}.queuing", why)
    elif kind == "Queue":
        if queuing is None:
            why = "must not be empty if limited.limitResponse.type is Limited"
            report.required(f"{here}.queuing", why)
        else:
            _validate_queuing(queuing, f"{here}.queuing", report)
    else:
        report.unsupported(f"{here}.type", kind, ("Queue", "Reject"))


def _validate_queuing(queuing: Object, path: str, report: Report) -> None:
    queues, hand = queuing.get("queues", 0), queuing.get("handSize", 0)
    if queuing.get("queueLengthLimit", 0) <= 0:
        report.invalid(f"{path}.queueLengthLimit", queuing.get("queueLengthLimit", 0), "must be positive")
    if queues <= 0:
        report.invalid(f"{path}.queues", queues, "must be positive")
    elif queues > _MOST_QUEUES:
        report.invalid(f"{path}.queues", queues, f"must not be greater than {_MOST_QUEUES}")
    if hand <= 0:
        report.invalid(f"{path}.handSize", hand, "must be positive")
    elif hand > queues:
        report.invalid(f"{path}.handSize", hand, f"should not be greater than queues ({queues})")
    elif _entropy_bits(queues, hand) > _HASH_BITS:
        why = (
            f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than "
            f"{_HASH_BITS}"
        )
        report.invalid(f"{path}.handSize", hand, why)


def _entropy_bits(deck: int, hand: int) -> int:
    """How many bits of a hash dealing `hand` cards out of `deck` uses up; more than enough ends the count."""
    total = 0.0
    for card in range(hand):
        total += math.log2(deck - card)
        if total > _HASH_BITS:
            break
    return math.ceil(total)
