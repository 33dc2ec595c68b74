"""metav1.Condition, as the newer kinds have it in their status."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.report import Report

_STATUSES = ("False", "True", "Unknown")
_REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_REASON_MESSAGE = formats.expression_error(
    "a condition reason must start with alphabetic character, optionally followed by a string of "
    "alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'",
    _REASON,
    "my_name",
    "MY_NAME",
    "MyName",
    "ReasonA,ReasonB",
    "ReasonA:ReasonB",
)
_REASON_LIMIT, _MESSAGE_LIMIT = 1024, 32 * 1024


def validate_conditions(conditions: Sequence[Object], path: str, report: Report) -> None:
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        here, kind = f"{path}[{index}]", condition.get("type", "")
        if kind in seen:
            report.duplicate(f"{here}.type", kind)
        seen.add(kind)
        report.invalid_each(f"{here}.type", kind, formats.qualified_name(kind))
        _validate_condition(condition, here, report)


def _validate_condition(condition: Object, path: str, report: Report) -> None:
    status, reason = condition.get("status", ""), condition.get("reason", "")
    if status not in _STATUSES:
        report.unsupported(f"{path}.status", status, _STATUSES)
    if condition.get("observedGeneration", 0) < 0:
        why = "must be greater than or equal to zero"
        report.invalid(f"{path}.observedGeneration", condition["observedGeneration"], why)
    if not condition.get("lastTransitionTime"):
        report.required(f"{path}.lastTransitionTime", "must be set")
    if not reason:
        report.required(f"{path}.reason", "must be set")
    elif not re.fullmatch(_REASON, reason):
        report.invalid(f"{path}.reason", reason, _REASON_MESSAGE)
    if len(reason) > _REASON_LIMIT:
        report.too_long(f"{path}.reason", _REASON_LIMIT)
    if len(condition.get("message", "")) > _MESSAGE_LIMIT:
        report.too_long(f"{path}.message", _MESSAGE_LIMIT)
