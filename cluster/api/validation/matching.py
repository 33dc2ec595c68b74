"""What webhooks and admission policies match: rules, selectors, conditions written in CEL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from cluster.api.cel import CompileError, compile_rule
from cluster.api.cel.kinds import BOOL, DYN, Kind
from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.report import Report
from cluster.api.validation.selectors import validate_label_selector

FAILURE_POLICIES: Final = ("Fail", "Ignore")
MATCH_POLICIES: Final = ("Equivalent", "Exact")
REINVOCATION_POLICIES: Final = ("IfNeeded", "Never")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_CONDITIONS_LIMIT = 64


def validate_rule(rule: Object, path: str, report: Report) -> None:
    operations = rule.get("operations") or []
    if not operations:
        report.required(f"{path}.operations")
    _validate_wildcard(operations, f"{path}.operations", "operations", report)
    for index, operation in enumerate(operations):
        if operation not in _OPERATIONS:
            report.unsupported(f"{path}.operations[{index}]", operation, _OPERATIONS)
    for field, word in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        values = rule.get(field) or []
        if not values:
            report.required(f"{path}.{field}")
        _validate_wildcard(values, f"{path}.{field}", word, report)
    for index, version in enumerate(rule.get("apiVersions") or ()):
        if not version:
            report.required(f"{path}.apiVersions[{index}]")
    _validate_resources(rule.get("resources") or [], f"{path}.resources", report)
    report.one_of(f"{path}.scope", rule.get("scope"), _SCOPES, needed=False)


def _validate_wildcard(values: Sequence[str], path: str, word: str, report: Report) -> None:
    if len(values) > 1 and "*" in values:
        report.invalid(path, values, f"if '*' is present, must not specify other {word}")


def _validate_resources(resources: Sequence[str], path: str, report: Report) -> None:
    if not resources:
        report.required(path)
    every_part: set[str] = set()
    every_resource: set[str] = set()
    for index, text in enumerate(resources):
        here = f"{path}[{index}]"
        resource, divided, part = text.partition("/")
        if not text:
            report.required(here)
        if not divided:
            continue
        if resource in every_part:
            report.invalid(here, text, f"if '{resource}/*' is present, must not specify {text}")
        if part in every_resource:
            report.invalid(here, text, f"if '*/{part}' is present, must not specify {text}")
        if part == "*":
            every_part.add(resource)
        if resource == "*":
            every_resource.add(part)
    if len(resources) > 1 and "*/*" in resources:
        report.invalid(path, resources, "if '*/*' is present, must not specify other resources")
    if "*" in resources and any(text and text != "*" and "/" not in text for text in resources):
        report.invalid(
            path, resources, "if '*' is present, must not specify other resources without subresources"
        )


def validate_match_resources(matching: Object, path: str, report: Report) -> None:
    """What a policy or its binding applies to."""
    report.one_of(f"{path}.matchPolicy", matching.get("matchPolicy"), MATCH_POLICIES)
    for field in ("namespaceSelector", "objectSelector"):
        if (selector := matching.get(field)) is None:
            report.required(f"{path}.{field}")
        else:
            validate_label_selector(selector, f"{path}.{field}", report)
    for field in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(matching.get(field) or ()):
            here = f"{path}.{field}[{index}]"
            _validate_resource_names(rule.get("resourceNames") or (), f"{here}.resourceNames", report)
            validate_rule(rule, here, report)


def _validate_resource_names(names: Sequence[str], path: str, report: Report) -> None:
    for index, name in enumerate(names):
        report.invalid_each(f"{path}[{index}]", name, formats.path_segment(name))
        if name in names[:index]:
            report.duplicate(f"{path}[{index}]", name)


def validate_conditions(
    conditions: Sequence[Object], path: str, variables: Collection[str], report: Report
) -> None:
    if len(conditions) > _CONDITIONS_LIMIT:
        report.too_many(path, len(conditions), _CONDITIONS_LIMIT)
    names: set[str] = set()
    for index, condition in enumerate(conditions):
        here = f"{path}[{index}]"
        name, text = condition["name"], condition["expression"].strip()
        check_expression(text, f"{here}.expression", variables, BOOL, report, missing="")
        if not name:
            report.required(f"{here}.name")
            continue
        report.invalid_each(f"{here}.name", name, formats.qualified_name(name))
        if name in names:
            report.duplicate(f"{here}.name", name)
        names.add(name)


def check_expression(
    text: str,
    path: str,
    variables: Collection[str],
    result: Kind | None,
    report: Report,
    *,
    missing: str = "expression is not specified",
) -> None:
    """Whether an expression over these variables compiles to the kind of result."""
    if not text.strip():
        report.required(path, missing)
        return
    try:
        compile_rule(text, dict.fromkeys(variables, DYN), result=result)
    except CompileError as error:
        report.invalid(path, text, f"compilation failed: {error}")
