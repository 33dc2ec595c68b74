"""Admission policies, validating and mutating, and their bindings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from cluster.api.cel.kinds import BOOL, STRING
from cluster.api.objects import Object
from cluster.api.validation import conditions as conditions_of
from cluster.api.validation import formats
from cluster.api.validation.matching import (
    FAILURE_POLICIES,
    REINVOCATION_POLICIES,
    check_expression,
    validate_conditions,
    validate_match_resources,
)
from cluster.api.validation.report import Report
from cluster.api.validation.selectors import validate_label_selector

VARIABLES: Final = (
    "object", "oldObject", "request", "params", "namespaceObject", "authorizer", "variables",
)  # fmt: skip
"""What an expression of a policy may name: params if it has a paramKind, variables if it declares any."""
_ACTIONS = ("Audit", "Deny", "Warn")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
_MUTATIONS = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
"""Kinds of mutation and the fields that hold them."""
_NOT_FOUND = ("Deny", "Allow")
_ANNOTATIONS_LIMIT = 20
_VALUE_EXPRESSION_LIMIT = 5 * 1024
_IDENTIFIER = re.compile("[_a-zA-Z][_a-zA-Z0-9]*")
_RESERVED = frozenset({
    "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let",
    "loop", "namespace", "null", "package", "return", "true", "var", "void", "while",
})  # fmt: skip
_EMPTY = "validations or auditAnnotations must contain at least one item"
_EXCLUSIVE = "name and selector are mutually exclusive"


def validate_policy(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    _validate_matching(spec, report)
    validations, annotations = spec.get("validations") or (), spec.get("auditAnnotations") or ()
    if not validations and not annotations:
        report.required("spec.validations", _EMPTY)
        report.required("spec.auditAnnotations", _EMPTY)
    for index, validation in enumerate(validations):
        _validate_validation(validation, f"spec.validations[{index}]", _variables(spec), report)
    if len(annotations) > _ANNOTATIONS_LIMIT:
        why = f"must not have more than {_ANNOTATIONS_LIMIT} auditAnnotations"
        report.invalid("spec.auditAnnotations", annotations, why)
    keys: set[str] = set()
    for index, annotation in enumerate(annotations):
        here = f"spec.auditAnnotations[{index}]"
        _validate_annotation(annotation, obj["metadata"].get("name", ""), here, _variables(spec), report)
        if annotation["key"] in keys:
            report.duplicate(f"{here}.key", annotation["key"])
        keys.add(annotation["key"])


def _variables(spec: Object) -> tuple[str, ...]:
    absent = set()
    if "paramKind" not in spec:
        absent.add("params")
    if not spec.get("variables"):
        absent.add("variables")
    return tuple(name for name in VARIABLES if name not in absent)


def _validate_validation(validation: Object, path: str, variables: tuple[str, ...], report: Report) -> None:
    check_expression(validation["expression"], f"{path}.expression", variables, BOOL, report)
    if expression := validation.get("messageExpression"):
        here = f"{path}.messageExpression"
        if not expression.strip():
            report.invalid(here, expression, "must be non-empty if specified")
        else:
            known = tuple(name for name in variables if name != "authorizer")
            check_expression(expression, here, known, STRING, report)
    if message := validation.get("message"):
        if not message.strip():
            report.invalid(f"{path}.message", message, "message must be non-empty if specified")
        elif re.search(r"[\n\r]", message.strip()):
            report.invalid(f"{path}.message", message, "message must not contain line breaks")
    report.one_of(f"{path}.reason", validation.get("reason"), _REASONS, needed=False)


def _validate_annotation(
    annotation: Object, name: str, path: str, variables: tuple[str, ...], report: Report
) -> None:
    key, expression = annotation["key"], annotation["valueExpression"]
    if name:
        full = f"{name}/{key}"
        report.invalid_each(f"{path}.key", full, formats.qualified_name(full))
    else:
        report.invalid(f"{path}.key", key, "requires metadata.name be non-empty")
    here = f"{path}.valueExpression"
    if len(expression.strip()) > _VALUE_EXPRESSION_LIMIT:
        report.required(here, f"must not exceed {_VALUE_EXPRESSION_LIMIT} bytes in length")
    else:
        missing = "valueExpression is not specified"
        check_expression(expression, here, variables, None, report, missing=missing)


def validate_mutating_policy(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    _validate_matching(spec, report)
    mutations = spec.get("mutations") or ()
    if not mutations:
        report.required("spec.mutations", "mutations must contain at least one item")
    for index, mutation in enumerate(mutations):
        here, kind = f"spec.mutations[{index}]", mutation.get("patchType")
        report.one_of(f"{here}.patchType", kind, tuple(_MUTATIONS))
        if kind not in _MUTATIONS:
            continue
        field = _MUTATIONS[kind]
        if field not in mutation:
            report.required(f"{here}.{field}")
        else:
            path = f"{here}.{field}.expression"
            check_expression(mutation[field].get("expression", ""), path, _variables(spec), None, report)
    report.one_of("spec.reinvocationPolicy", spec.get("reinvocationPolicy"), REINVOCATION_POLICIES)


def _validate_matching(spec: Object, report: Report) -> None:
    report.one_of("spec.failurePolicy", spec.get("failurePolicy"), FAILURE_POLICIES)
    if "paramKind" in spec:
        _validate_param_kind(spec["paramKind"], "spec.paramKind", report)
    if (constraints := spec.get("matchConstraints")) is None:
        report.required("spec.matchConstraints")
    else:
        validate_match_resources(constraints, "spec.matchConstraints", report)
        if not constraints.get("resourceRules"):
            report.required("spec.matchConstraints.resourceRules")
    known = tuple(name for name in _variables(spec) if name != "variables")
    validate_conditions(spec.get("matchConditions") or (), "spec.matchConditions", known, report)
    for index, variable in enumerate(spec.get("variables") or ()):
        here, name = f"spec.variables[{index}]", variable["name"]
        if not name.strip():
            report.required(f"{here}.name", "name is not specified")
        elif not _IDENTIFIER.fullmatch(name) or name in _RESERVED:
            report.invalid(f"{here}.name", name, "name is not a valid CEL identifier")
        check_expression(variable["expression"], f"{here}.expression", _variables(spec), None, report)


def _validate_param_kind(kind: Object, path: str, report: Report) -> None:
    api_version, name = kind.get("apiVersion", ""), kind.get("kind", "")
    group, _, version = api_version.rpartition("/")
    here = f"{path}.apiVersion"
    if not api_version:
        report.required(here)
    elif api_version.count("/") > 1:
        report.invalid(here, api_version, f"unexpected GroupVersion string: {api_version}")
    else:
        if group and (wrong := formats.dns_subdomain(group)):
            report.invalid(here, group, ",".join(wrong))
        if not version:
            report.invalid(here, api_version, "version must be specified")
        elif wrong := formats.dns_1035_label(version):
            report.invalid(here, version, ",".join(wrong))
    if not name:
        report.required(f"{path}.kind")
    elif wrong := formats.dns_1035_label(name.lower()):
        why = "may have mixed case, but should otherwise match: " + ",".join(wrong)
        report.invalid(f"{path}.kind", name, why)


def validate_policy_status(new: Object, old: Object, report: Report) -> None:
    status = new.get("status") or {}
    for index, warning in enumerate((status.get("typeChecking") or {}).get("expressionWarnings") or ()):
        for field in ("warning", "fieldRef"):
            if not warning.get(field):
                report.required(f"status.typeChecking.expressionWarnings[{index}].{field}")
    conditions = status.get("conditions") or ()
    conditions_of.validate_conditions(conditions, "status.conditions", report)


def validate_binding(obj: Object, report: Report) -> None:
    """Of a validating policy."""
    spec = obj["spec"]
    _validate_bound(spec, report)
    _validate_actions(spec.get("validationActions") or [], "spec.validationActions", report)


def validate_mutating_binding(obj: Object, report: Report) -> None:
    _validate_bound(obj["spec"], report)


def _validate_bound(spec: Object, report: Report) -> None:
    name = spec.get("policyName", "")
    if not name:
        report.required("spec.policyName")
    else:
        report.invalid_each("spec.policyName", name, formats.dns_subdomain(name))
    if (reference := spec.get("paramRef")) is not None:
        _validate_param_reference(reference, "spec.paramRef", report)
    if (matching := spec.get("matchResources")) is not None:
        validate_match_resources(matching, "spec.matchResouces", report)  # so Kubernetes spells the path


def _validate_param_reference(reference: Object, path: str, report: Report) -> None:
    name, selector = reference.get("name", ""), reference.get("selector")
    if name:
        report.invalid_each(f"{path}.name", name, formats.path_segment(name))
        if selector is not None:
            report.forbidden(f"{path}.name", _EXCLUSIVE)
    if selector is not None:
        validate_label_selector(selector, f"{path}.selector", report)
        if name:
            report.forbidden(f"{path}.selector", _EXCLUSIVE)
    if not name and selector is None:
        report.required(path, "one of name or selector must be specified")
    action = reference.get("parameterNotFoundAction")
    report.one_of(f"{path}.parameterNotFoundAction", action, _NOT_FOUND)


def _validate_actions(actions: Sequence[str], path: str, report: Report) -> None:
    for index, action in enumerate(actions):
        if action not in _ACTIONS:
            report.unsupported(f"{path}[{index}]", action, _ACTIONS)
        if action in actions[:index]:
            report.duplicate(f"{path}[{index}]", action)
    if "Deny" in actions and "Warn" in actions:
        why = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the "
            "API response and headers serves no purpose)"
        )
        report.invalid(path, actions, why)
    if not actions:
        report.required(path, "at least one validation action is required")
