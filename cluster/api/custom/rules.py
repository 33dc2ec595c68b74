"""x-kubernetes-validations: CEL rules in a schema, compiled into a tree that is as sparse as the rules are.

A rule that uses oldSelf is a transition rule: it is asked only when there is an old value to compare with.
Rules of a value that an update leaves as it was are not asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.api.cel import Budget, CompileError, CostExceeded, EvalError, Program, compile_rule
from cluster.api.cel.kinds import BOOL, STRING, Kind, kind_of
from cluster.api.cel.values import NONE, Optional
from cluster.api.custom.types import INT_OR_STRING, Schema
from cluster.api.custom.validating import ABSENT, old_items
from cluster.api.facts import Shape, Type
from cluster.api.validation.report import Report

RULES = "x-kubernetes-validations"
_OPTIONAL = "optional_type"


@dataclass(slots=True, kw_only=True)
class _Rule:
    program: Program
    text: str
    message: str
    message_program: Program | None
    reason: str
    field_path: str
    optional_old: bool

    @property
    def is_transition(self) -> bool:
        return "oldSelf" in self.program.uses

    def shown(self) -> str:
        return self.message.strip() or self.text.strip()


@dataclass(slots=True, kw_only=True)
class RuleNode:
    """The rules of one place in the schema and of what is below it."""

    schema: Schema
    type_name: str
    rules: list[_Rule] = field(default_factory=list)
    fields: dict[str, RuleNode] = field(default_factory=dict)
    element: RuleNode | None = None
    """Of a list's items or a map's values."""


def rule_tree(schema: Schema, type_: Type, path: str, report: Report) -> RuleNode | None:
    """None if there is no rule anywhere below. Mistakes in rules go into the report."""
    node = RuleNode(schema=schema, type_name="" if schema.get(INT_OR_STRING) else schema.get("type", ""))
    for index, wanted in enumerate(schema.get(RULES) or ()):
        rule = _rule(wanted, kind_of(type_), f"{path}.{RULES}[{index}]", report)
        if rule is not None:
            node.rules.append(rule)
    for name, part in (schema.get("properties") or {}).items():
        found = type_.fields.get(name)
        if found is not None and found.type.schema is not None:
            child = rule_tree(part, found.type, f"{path}.properties[{name}]", report)
            if child is not None:
                node.fields[name] = child
    if type_.element is not None and type_.shape in (Shape.LIST, Shape.MAP):
        word = "items" if type_.shape is Shape.LIST else "additionalProperties"
        node.element = rule_tree(schema.get(word) or {}, type_.element, f"{path}.{word}", report)
    return node if node.rules or node.fields or node.element is not None else None


def _rule(wanted: Mapping[str, Any], kind: Kind, path: str, report: Report) -> _Rule | None:
    text = wanted.get("rule", "")
    if not text.strip():
        report.required(f"{path}.rule", "rule is not specified")
        return None
    optional_old = bool(wanted.get("optionalOldSelf"))
    variables = {"self": kind, "oldSelf": Kind(_OPTIONAL, (kind,)) if optional_old else kind}
    program = _compiled(text, variables, BOOL, f"{path}.rule", "cel expression", report)
    message = wanted.get("messageExpression", "")
    message_program = None
    if message:
        where = f"{path}.messageExpression"
        message_program = _compiled(message, variables, STRING, where, "messageExpression", report)
    if "message" in wanted and "\n" in wanted["message"].strip():
        report.invalid(f"{path}.message", wanted["message"], "message must not contain line breaks")
    if program is None:
        return None
    return _Rule(
        program=program,
        text=text,
        message=wanted.get("message", ""),
        message_program=message_program,
        reason=wanted.get("reason", "FieldValueInvalid"),
        field_path=wanted.get("fieldPath", ""),
        optional_old=optional_old,
    )


def _compiled(
    text: str, variables: Mapping[str, Kind], result: Kind, path: str, what: str, report: Report
) -> Program | None:
    try:
        return compile_rule(text, variables, result=result)
    except CompileError as error:
        problem = str(error)
        if problem.startswith("must evaluate to"):
            report.invalid(path, text, f"{what} must evaluate to a {result}")
        else:
            report.invalid(path, text, f"compilation failed: {problem}")
        return None


def check_rules(node: RuleNode, value: Any, old: Any, path: str, report: Report) -> None:
    """Adds what the rules refuse."""
    if old is not ABSENT and old == value:
        return
    if value is None:
        return
    for rule in node.rules:
        if rule.is_transition and old is ABSENT and not rule.optional_old:
            continue
        _ask(rule, node, value, old, path, report)
    if isinstance(value, dict):
        before: Mapping[str, Any] = old if isinstance(old, dict) else {}
        for name, child in node.fields.items():
            if name in value:
                here = f"{path}.{name}" if path else name
                check_rules(child, value[name], before.get(name, ABSENT), here, report)
        if node.element is not None:
            for name in sorted(value):
                inner = before.get(name, ABSENT)
                check_rules(node.element, value[name], inner, f"{path}[{name}]", report)
    elif isinstance(value, list) and node.element is not None:
        for index, (item, former) in enumerate(zip(value, old_items(node.schema, value, old), strict=True)):
            check_rules(node.element, item, former, f"{path}[{index}]", report)


def _ask(rule: _Rule, node: RuleNode, value: Any, old: Any, path: str, report: Report) -> None:
    variables: dict[str, Any] = {"self": value}
    if rule.optional_old:
        variables["oldSelf"] = NONE if old is ABSENT else Optional(old, True)
    elif old is not ABSENT:
        variables["oldSelf"] = old
    shown = node.type_name
    try:
        if rule.program(variables, Budget()) is True:
            return
    except CostExceeded as error:
        why = "no further validation rules will be run due to call cost exceeds limit for rule"
        report.invalid(path, shown, f"'{error}': {why}: {rule.shown()}")
        return
    except EvalError as error:
        if str(error).startswith("no such overload"):
            why = "call arguments did not match a supported operator, function or macro signature for rule"
            report.invalid(path, shown, f"'{error}': {why}: {rule.shown()}")
        else:
            report.invalid(path, shown, f"{error} evaluating rule: {rule.shown()}")
        return
    _refuse(rule, shown, _message(rule, variables), f"{path}{rule.field_path}", report)


def _message(rule: _Rule, variables: Mapping[str, Any]) -> str:
    """The messageExpression's text where it gives one, else the message, else the rule."""
    if rule.message_program is not None:
        try:
            made = rule.message_program(variables, Budget())
        except EvalError:
            made = ""
        if isinstance(made, str) and made.strip() and "\n" not in made:
            return made.strip()
    return rule.message.strip() or f"failed rule: {rule.text.strip()}"


def _refuse(rule: _Rule, shown: str, message: str, path: str, report: Report) -> None:
    here = path.removeprefix(".")
    match rule.reason:
        case "FieldValueRequired":
            report.required(here, message)
        case "FieldValueForbidden":
            report.forbidden(here, message)
        case "FieldValueDuplicate":
            report.duplicate(here, shown)
        case _:
            report.invalid(here, shown, message)
