"""Names and taints of devices, which claims and slices have in common."""

from __future__ import annotations

import re
from typing import Final

from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.report import Report
from cluster.api.validation.storage_drivers import validate_driver_name

TAINT_EFFECTS: Final = ("NoExecute", "NoSchedule", "None")
_POOL_NAME_LIMIT = 253
_IDENTIFIER_LIMIT = 32
_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_IDENTIFIER_MESSAGE = formats.expression_error(
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric "
    "characters or '_'",
    _IDENTIFIER,
    "my_name",
    "MY_NAME",
    "MyName",
)


def validate_label(name: str, path: str, report: Report) -> None:
    """Names of requests, devices and counters."""
    report.invalid_each(path, name, formats.dns_label(name))


def validate_pool_name(name: str, path: str, report: Report) -> None:
    if not name:
        report.required(path)
        return
    if len(name) > _POOL_NAME_LIMIT:
        report.too_long(path, _POOL_NAME_LIMIT)
    for part in name.split("/"):
        report.invalid_each(path, part, formats.dns_subdomain(part))


def validate_name(name: str, path: str, report: Report) -> None:
    """Of attributes and capacities: an identifier, with or without a domain."""
    domain, divided, identifier = name.rpartition("/")
    if not name:
        report.required(path, "name required")
    elif not divided:
        _validate_identifier(name, path, report)
    else:
        if domain:
            validate_driver_name(domain, path, report)
        else:
            report.required(path, "the domain must not be empty")
        if identifier:
            _validate_identifier(identifier, path, report)
        else:
            report.required(path, "the name must not be empty")


def _validate_identifier(identifier: str, path: str, report: Report) -> None:
    if len(identifier) > _IDENTIFIER_LIMIT:
        report.too_long(path, _IDENTIFIER_LIMIT)
    if not re.fullmatch(_IDENTIFIER, identifier):
        report.type_invalid(path, identifier, _IDENTIFIER_MESSAGE)


def validate_full_name(name: str, path: str, report: Report) -> None:
    validate_name(name, path, report)
    if name and "/" not in name:
        report.invalid(path, name, "must include a domain")


def validate_taint(taint: Object, path: str, report: Report) -> None:
    key, value = taint.get("key", ""), taint.get("value", "")
    report.invalid_each(f"{path}.key", key, formats.qualified_name(key))
    if value:
        report.invalid_each(f"{path}.value", value, formats.label_value(value))
    report.one_of(f"{path}.effect", taint.get("effect"), TAINT_EFFECTS)
