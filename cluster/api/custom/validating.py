"""Objects against a structural schema, with the words of the OpenAPI validator that Kubernetes uses.

Ratcheting: a value that an update leaves as it was is not complained about, so that a schema that became
stricter does not block other changes.

Divergence: patterns are Python's regular expressions, which differ from Go's in rare constructs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cluster.api.custom.formats import format_fits
from cluster.api.custom.types import EMBEDDED, INT_OR_STRING, LIST_KEYS, LIST_TYPE
from cluster.api.validation.report import Report

Schema = Mapping[str, Any]
ABSENT: Any = object()
"""There is no old value to compare with."""


def type_name(value: Any) -> str:
    """As messages call it."""
    match value:
        case bool():
            return "boolean"
        case None:
            return "null"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


def validate_value(schema: Schema, value: Any, old: Any, path: str, report: Report) -> None:
    if old is not ABSENT and old == value and type(old) is type(value):
        return
    if value is None and schema.get("nullable"):
        return
    if not _fits_type(schema, value):
        wanted = "integer,string" if schema.get(INT_OR_STRING) else schema.get("type", "")
        found = type_name(value)
        detail = f'{path} in body must be of type {wanted}: "{found}"'
        report.type_invalid(path, found, detail)
        return
    _validate_enum(schema, value, path, report)
    match value:
        case str():
            _validate_string(schema, value, path, report)
        case bool():
            pass
        case int() | float():
            _validate_number(schema, value, path, report)
        case list():
            _validate_list(schema, value, old, path, report)
        case dict():
            _validate_object(schema, value, old, path, report)
    _validate_logic(schema, value, path, report)


def _fits_type(schema: Schema, value: Any) -> bool:
    if schema.get(INT_OR_STRING):
        return type_name(value) in ("integer", "string")
    wanted = schema.get("type", "")
    found = type_name(value)
    if not wanted or wanted == found:
        return True
    if wanted == "number":
        return found == "integer"
    return bool(wanted == "integer" and found == "number" and value.is_integer())


def _validate_enum(schema: Schema, value: Any, path: str, report: Report) -> None:
    allowed = schema.get("enum")
    if allowed and not any(choice == value and type(choice) is type(value) for choice in allowed):
        report.unsupported_json(path, value, allowed)


def _validate_string(schema: Schema, value: str, path: str, report: Report) -> None:
    longest, shortest = schema.get("maxLength"), schema.get("minLength")
    if longest is not None and len(value) > longest:
        report.too_long(path, longest)
    if shortest is not None and len(value) < shortest:
        report.invalid(path, value, f"{path} in body should be at least {shortest} chars long")
    pattern = schema.get("pattern")
    if pattern and not compiled_pattern(pattern).search(value):
        report.invalid(path, value, f"{path} in body should match '{pattern}'")
    kind = schema.get("format")
    if kind and not format_fits(kind, value):
        report.invalid(path, value, f'{path} in body must be of type {kind}: "{value}"')


@lru_cache(maxsize=1024)
def compiled_pattern(pattern: str) -> re.Pattern[str]:
    """Raises re.error."""
    return re.compile(pattern.replace(r"\z", r"\Z"))


def _validate_number(schema: Schema, value: float, path: str, report: Report) -> None:
    highest, lowest, step = schema.get("maximum"), schema.get("minimum"), schema.get("multipleOf")
    if highest is not None:
        exclusive = bool(schema.get("exclusiveMaximum"))
        if value > highest or (exclusive and value == highest):
            than = "less than" if exclusive else "less than or equal to"
            report.invalid(path, value, f"{path} in body should be {than} {_number(highest)}")
    if lowest is not None:
        exclusive = bool(schema.get("exclusiveMinimum"))
        if value < lowest or (exclusive and value == lowest):
            than = "greater than" if exclusive else "greater than or equal to"
            report.invalid(path, value, f"{path} in body should be {than} {_number(lowest)}")
    if step and value % step:
        report.invalid(path, value, f"{path} in body should be a multiple of {_number(step)}")
    if schema.get("format") == "int32" and not -(2**31) <= value < 2**31:
        report.invalid(path, value, f"Checked value must be of type integer with format int32 in {path}")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)


def _validate_list(schema: Schema, value: list[Any], old: Any, path: str, report: Report) -> None:
    most, least = schema.get("maxItems"), schema.get("minItems")
    if most is not None and len(value) > most:
        report.too_many(path, len(value), most)
    if least is not None and len(value) < least:
        report.invalid(path, len(value), f"{path} in body should have at least {least} items")
    items = schema.get("items")
    if not isinstance(items, Mapping):
        return
    before = old_items(schema, value, old)
    for index, item in enumerate(value):
        validate_value(items, item, before[index], f"{path}[{index}]", report)
    _validate_identity(schema, value, path, report)


def old_items(schema: Schema, value: list[Any], old: Any) -> list[Any]:
    """For each item the one it replaces: by key in a list-map, by value in a set, otherwise none."""
    if not isinstance(old, list):
        return [ABSENT] * len(value)
    if schema.get(LIST_TYPE) == "map":
        keys = schema.get(LIST_KEYS) or ()
        known = {repr(_key_of(item, keys)): item for item in old}
        return [known.get(repr(_key_of(item, keys)), ABSENT) for item in value]
    return [item if item in old else ABSENT for item in value]


def _key_of(item: Any, keys: Any) -> Any:
    return {key: item.get(key) for key in keys if key in item} if isinstance(item, Mapping) else item


def _validate_identity(schema: Schema, value: list[Any], path: str, report: Report) -> None:
    kind = schema.get(LIST_TYPE)
    if kind not in ("map", "set"):
        return
    keys = schema.get(LIST_KEYS) or ()
    seen: set[str] = set()
    for index, item in enumerate(value):
        identity = _key_of(item, keys) if kind == "map" else item
        text = repr(identity)
        if text in seen:
            report.duplicate(f"{path}[{index}]", identity)
        seen.add(text)


def _validate_object(schema: Schema, value: dict[str, Any], old: Any, path: str, report: Report) -> None:
    before: Mapping[str, Any] = old if isinstance(old, Mapping) else {}
    for name in schema.get("required") or ():
        if name not in value:
            report.required(_join(path, name))
    most, least = schema.get("maxProperties"), schema.get("minProperties")
    if most is not None and len(value) > most:
        report.too_many(path, len(value), most)
    if least is not None and len(value) < least:
        report.invalid(path, len(value), f"{path} in body should have at least {least} properties")
    if schema.get(EMBEDDED):
        for name in ("apiVersion", "kind"):
            if not value.get(name):
                report.required(_join(path, name), "must not be empty")
    properties: Mapping[str, Any] = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    for name in sorted(value):
        part = properties.get(name)
        if part is None and isinstance(additional, Mapping):
            part = additional
        if part is not None:
            validate_value(part, value[name], before.get(name, ABSENT), _join(path, name), report)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _validate_logic(schema: Schema, value: Any, path: str, report: Report) -> None:
    for part in schema.get("allOf") or ():
        validate_value(part, value, ABSENT, path, report)
    choices = schema.get("anyOf")
    if choices and not schema.get(INT_OR_STRING) and not any(_valid(c, value, path) for c in choices):
        report.invalid(path, "", f'"{path}" must validate at least one schema (anyOf)')
    if choices := schema.get("oneOf"):
        count = sum(_valid(choice, value, path) for choice in choices)
        if count != 1:
            found = "none valid" if not count else f"{count} valid alternatives"
            report.invalid(path, "", f'"{path}" must validate one and only one schema (oneOf). Found {found}')
    if "not" in schema and _valid(schema["not"], value, path):
        report.invalid(path, "", f'"{path}" must not validate the schema (not)')


def _valid(schema: Schema, value: Any, path: str) -> bool:
    report = Report()
    validate_value(schema, value, ABSENT, path, report)
    return not report.causes
