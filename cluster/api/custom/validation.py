"""The whole validation of custom objects: schema, then expression rules if the schema is satisfied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.api.custom import Validate
from cluster.api.custom.rules import check_rules, rule_tree
from cluster.api.custom.types import Schema
from cluster.api.custom.validating import ABSENT, validate_value
from cluster.api.errors import Cause
from cluster.api.facts import Type
from cluster.api.objects import Object
from cluster.api.validation.report import Report

_BLOCKING = frozenset({
    "FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany",
    "FieldValueTypeInvalid",
})  # fmt: skip
_UNCHECKED = Cause(
    "FieldValueInvalid",
    'Invalid value: "null": some validation rules were not checked because the object was invalid; correct '
    "the existing errors to complete validation",
    "<nil>",
)


def validator(schema: Schema, type_: Type) -> Validate:
    """A definition's rules have been checked when it was stored; what is wrong with them now is left out."""
    rules = rule_tree(schema, type_, "", Report())

    def validate(obj: Object, old: Mapping[str, Any] | None) -> list[Cause]:
        report = Report()
        before = ABSENT if old is None else old
        validate_value(schema, obj, before, "", report)
        if rules is not None:
            if any(cause.reason in _BLOCKING for cause in report.causes):
                report.causes.append(_UNCHECKED)
            else:
                check_rules(rules, obj, before, "", report)
        return report.causes

    return validate
