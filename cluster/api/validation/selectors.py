"""Label selectors and node selectors in object form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.metadata import validate_labels
from cluster.api.validation.report import Report

_WITH_VALUES = ("In", "NotIn")
_WITHOUT_VALUES = ("Exists", "DoesNotExist")


def validate_label_selector(selector: Mapping[str, Any], path: str, report: Report) -> None:
    if labels := selector.get("matchLabels"):
        validate_labels(labels, f"{path}.matchLabels", report)
    for index, requirement in enumerate(selector.get("matchExpressions") or ()):
        here = f"{path}.matchExpressions[{index}]"
        _validate_operator(requirement, here, report, "`operator`", numeric=False)
        report.invalid_each(f"{here}.key", requirement["key"], formats.qualified_name(requirement["key"]))
        for position, value in enumerate(requirement.get("values") or ()):
            report.invalid_each(f"{here}.values[{position}]", value, formats.label_value(value))


def _validate_operator(requirement: Object, path: str, report: Report, word: str, *, numeric: bool) -> None:
    operator, values = requirement["operator"], requirement.get("values")
    if operator in _WITH_VALUES:
        if not values:
            report.required(f"{path}.values", f"must be specified when {word} is 'In' or 'NotIn'")
    elif operator in _WITHOUT_VALUES:
        if values:
            report.forbidden(
                f"{path}.values", f"may not be specified when {word} is 'Exists' or 'DoesNotExist'"
            )
    elif numeric and operator in ("Gt", "Lt"):
        if not values or len(values) != 1:
            report.required(f"{path}.values", f"must be specified single value when {word} is 'Lt' or 'Gt'")
    else:
        report.invalid(f"{path}.operator", operator, "not a valid selector operator")


def selects_everything(selector: Mapping[str, Any]) -> bool:
    return not selector.get("matchLabels") and not selector.get("matchExpressions")


def validate_node_selector(selector: Object, path: str, report: Report) -> None:
    terms = selector.get("nodeSelectorTerms")
    if not terms:
        report.required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
    for index, term in enumerate(terms or ()):
        validate_node_selector_term(term, f"{path}.nodeSelectorTerms[{index}]", report)


def validate_node_selector_term(term: Object, path: str, report: Report) -> None:
    for index, requirement in enumerate(term.get("matchExpressions") or ()):
        here = f"{path}.matchExpressions[{index}]"
        _validate_operator(requirement, here, report, "`operator`", numeric=True)
        report.invalid_each(f"{here}.key", requirement["key"], formats.qualified_name(requirement["key"]))
    for index, requirement in enumerate(term.get("matchFields") or ()):
        here = f"{path}.matchFields[{index}]"
        if requirement["operator"] not in _WITH_VALUES:
            report.invalid(f"{here}.operator", requirement["operator"], "not a valid selector operator")
        elif len(requirement.get("values") or ()) != 1:
            report.required(
                f"{here}.values",
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            )
        if requirement["key"] != "metadata.name":
            report.invalid(f"{here}.key", requirement["key"], "not a valid field selector key")
        else:
            for position, value in enumerate(requirement.get("values") or ()):
                report.invalid_each(f"{here}.values[{position}]", value, formats.dns_subdomain(value))
