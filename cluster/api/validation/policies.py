"""Validating admission policies and their bindings."""

from __future__ import annotations

from typing import Final

from cluster.api.cel import CompileError, compile_rule
from cluster.api.cel.kinds import BOOL, DYN, STRING, Kind
from cluster.api.objects import Object
from cluster.api.validation.report import Report

VARIABLES: Final = (
    "object", "oldObject", "request", "params", "namespaceObject", "authorizer", "variables",
)  # fmt: skip
"""What an expression of a policy may name."""
CONDITION_VARIABLES: Final = ("object", "oldObject", "request", "authorizer")
"""What a webhook's match condition may name."""
_ACTIONS = ("Audit", "Deny", "Warn")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
_POLICIES = ("Fail", "Ignore")
_MUTATIONS = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
"""Kinds of mutation and the fields that hold them."""
_NOT_FOUND = ("Allow", "Deny")


def validate_policy(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    _validate_matching(spec, report)
    validations = spec.get("validations") or ()
    if not validations and not spec.get("auditAnnotations"):
        report.required("spec.validations", "validations or auditAnnotations must contain at least one item")
    for index, validation in enumerate(validations):
        here = f"spec.validations[{index}]"
        check_expression(validation["expression"], f"{here}.expression", VARIABLES, BOOL, report)
        if text := validation.get("messageExpression"):
            check_expression(text, f"{here}.messageExpression", VARIABLES, STRING, report)
        report.one_of(f"{here}.reason", validation.get("reason"), _REASONS, needed=False)


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
            check_expression(mutation[field].get("expression", ""), path, VARIABLES, None, report)


def _validate_matching(spec: Object, report: Report) -> None:
    report.one_of("spec.failurePolicy", spec.get("failurePolicy"), _POLICIES, needed=False)
    if not (spec.get("matchConstraints") or {}).get("resourceRules"):
        report.required("spec.matchConstraints")
    for index, condition in enumerate(spec.get("matchConditions") or ()):
        here = f"spec.matchConditions[{index}].expression"
        check_expression(condition["expression"], here, VARIABLES, BOOL, report)
    for index, variable in enumerate(spec.get("variables") or ()):
        here = f"spec.variables[{index}]"
        if not variable["name"].isidentifier():
            report.invalid(f"{here}.name", variable["name"], "name is not a valid CEL identifier")
        check_expression(variable["expression"], f"{here}.expression", VARIABLES, None, report)


def check_expression(
    text: str, path: str, variables: tuple[str, ...], result: Kind | None, report: Report
) -> None:
    if not text.strip():
        report.required(path, "expression is not specified")
        return
    try:
        compile_rule(text, dict.fromkeys(variables, DYN), result=result)
    except CompileError as error:
        report.invalid(path, text, f"compilation failed: {error}")


def validate_binding(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    if not spec.get("policyName"):
        report.required("spec.policyName")
    actions = spec.get("validationActions") or ()
    if not actions:
        report.required("spec.validationActions", "must have at least one validationAction")
    for index, action in enumerate(actions):
        if action not in _ACTIONS:
            report.unsupported(f"spec.validationActions[{index}]", action, _ACTIONS)
        elif action in actions[:index]:
            report.duplicate(f"spec.validationActions[{index}]", action)
    if "Deny" in actions and "Warn" in actions:
        why = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the "
            "API response and headers serves no purpose)"
        )
        report.invalid("spec.validationActions", list(actions), why)
    reference = spec.get("paramRef")
    if reference is not None:
        if ("name" in reference) == ("selector" in reference):
            report.required("spec.paramRef.name", "one of name or selector must be specified")
        report.one_of(
            "spec.paramRef.parameterNotFoundAction", reference.get("parameterNotFoundAction"), _NOT_FOUND
        )
