"""Whether a definition's schema is structural: types everywhere, nothing that OpenAPI could not prune by.

Inside allOf, anyOf, oneOf and not, only value validations may stand; they can't give structure.

Divergence: value validations inside logical junctors are not required to repeat the structure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cluster.api.custom.rules import rule_tree
from cluster.api.custom.types import (
    EMBEDDED,
    INT_OR_STRING,
    LIST_KEYS,
    LIST_TYPE,
    PRESERVE,
    Schema,
    root_type,
)
from cluster.api.custom.validating import ABSENT, compiled_pattern, validate_value
from cluster.api.validation.report import Report

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_JUNCTORS = ("allOf", "anyOf", "oneOf")
_STRUCTURE_ONLY = ("type", "default", "additionalProperties", "nullable", "title", "description")
_METADATA = frozenset({"name", "generateName"})


def check_schema(schema: Schema, path: str, report: Report) -> None:
    """The schema of a whole version, rules included."""
    before = len(report.causes)
    if schema.get("type") != "object":
        report.invalid(f"{path}.type", schema.get("type", ""), "must be object at the root")
    if schema.get("nullable"):
        report.forbidden(f"{path}.nullable", "nullable cannot be true at the root")
    _check_metadata(schema, path, report)
    _check_level(schema, path, "at the root", report)
    if len(report.causes) == before:
        rule_tree(schema, root_type(schema), path, report)
        _check_defaults(schema, path, report)


def _check_metadata(schema: Schema, path: str, report: Report) -> None:
    properties: Mapping[str, Any] = schema.get("properties") or {}
    metadata = properties.get("metadata")
    if metadata and not _METADATA.issuperset(metadata.get("properties") or {}):
        report.forbidden(
            f"{path}.properties[metadata]",
            "must not specify anything other than name and generateName, but metadata is implicitly "
            "specified",
        )


def _check_level(schema: Schema, path: str, where: str, report: Report) -> None:
    kind = schema.get("type", "")
    free = schema.get(PRESERVE) or schema.get(INT_OR_STRING)
    if not kind and not free:
        report.required(f"{path}.type", f"must not be empty {where}")
    elif kind and kind not in _TYPES:
        report.unsupported(f"{path}.type", kind, _TYPES)
    if kind and schema.get(INT_OR_STRING):
        report.forbidden(f"{path}.type", "must be empty if x-kubernetes-int-or-string is true")
    _check_unsupported(schema, path, report)
    _check_extensions(schema, kind, path, report)
    _check_pattern(schema, path, report)
    for junctor in _JUNCTORS:
        for index, part in enumerate(schema.get(junctor) or ()):
            if not schema.get(INT_OR_STRING):
                _check_junctor(part, f"{path}.{junctor}[{index}]", report)
    if "not" in schema:
        _check_junctor(schema["not"], f"{path}.not", report)
    _check_parts(schema, kind, path, report)


def _check_parts(schema: Schema, kind: str, path: str, report: Report) -> None:
    properties: Mapping[str, Any] = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    if properties and additional not in (None, True):
        report.forbidden(f"{path}.additionalProperties", "must not be used together with properties")
    for name, part in properties.items():
        _check_level(part, f"{path}.properties[{name}]", "for specified object fields", report)
    if additional is False:
        report.forbidden(f"{path}.additionalProperties", "additionalProperties cannot be set to false")
    elif isinstance(additional, Mapping):
        _check_level(additional, f"{path}.additionalProperties", "for specified object fields", report)
    items = schema.get("items")
    if isinstance(items, list):
        report.forbidden(f"{path}.items", "items must be a schema object and not an array")
    elif isinstance(items, Mapping):
        _check_level(items, f"{path}.items", "for specified array items", report)
    elif kind == "array" and not schema.get(PRESERVE):
        report.required(f"{path}.items", "must be specified")


_UNSUPPORTED = {
    "$ref": "$ref is not supported",
    "definitions": "definitions is not supported",
    "dependencies": "dependencies is not supported",
    "deprecated": "deprecated is not supported",
    "discriminator": "discriminator is not supported",
    "id": "id is not supported",
    "patternProperties": "patternProperties is not supported",
    "readOnly": "readOnly is not supported",
    "writeOnly": "writeOnly is not supported",
    "xml": "xml is not supported",
}


def _check_unsupported(schema: Schema, path: str, report: Report) -> None:
    for name, why in _UNSUPPORTED.items():
        if schema.get(name):
            report.forbidden(f"{path}.{name}", why)
    if schema.get("uniqueItems"):
        report.forbidden(
            f"{path}.uniqueItems",
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        )


def _check_extensions(schema: Schema, kind: str, path: str, report: Report) -> None:
    if schema.get(PRESERVE) is False:
        report.invalid(f"{path}.{PRESERVE}", False, "must be true or undefined")
    if schema.get(EMBEDDED):
        if kind != "object":
            report.invalid(f"{path}.type", kind, "must be object if x-kubernetes-embedded-resource is true")
        if not schema.get("properties") and not schema.get(PRESERVE):
            report.required(
                f"{path}.properties",
                "must not be empty if x-kubernetes-embedded-resource is true without "
                "x-kubernetes-preserve-unknown-fields",
            )
    list_type, keys = schema.get(LIST_TYPE), schema.get(LIST_KEYS)
    if list_type and kind != "array":
        report.invalid(f"{path}.type", kind, "must be array if x-kubernetes-list-type is specified")
    if list_type and list_type not in ("atomic", "map", "set"):
        report.unsupported(f"{path}.{LIST_TYPE}", list_type, ("atomic", "map", "set"))
    if list_type == "map" and not keys:
        report.required(f"{path}.{LIST_KEYS}", "must not be empty if x-kubernetes-list-type is map")
    elif keys and list_type != "map":
        report.required(f"{path}.{LIST_TYPE}", "must be map if x-kubernetes-list-map-keys is non-empty")
    elif keys:
        _check_keys(schema, keys, path, report)


def _check_keys(schema: Schema, keys: Any, path: str, report: Report) -> None:
    items: Mapping[str, Any] = schema.get("items") or {}
    properties: Mapping[str, Any] = items.get("properties") or {}
    for index, key in enumerate(keys):
        if key not in properties:
            report.invalid(
                f"{path}.{LIST_KEYS}[{index}]",
                key,
                "entries must all be names of item properties",
            )
        elif key not in (items.get("required") or ()) and "default" not in properties[key]:
            report.required(
                f"{path}.items.properties[{key}].default",
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required "
                "property",
            )


def _check_pattern(schema: Schema, path: str, report: Report) -> None:
    pattern = schema.get("pattern")
    if pattern:
        try:
            compiled_pattern(pattern)
        except re.error as error:
            report.invalid(
                f"{path}.pattern",
                pattern,
                f"must be a valid regular expression, but isn't: error parsing regexp: {error}",
            )


def _check_junctor(schema: Schema, path: str, report: Report) -> None:
    for name in _STRUCTURE_ONLY:
        if schema.get(name):
            report.forbidden(f"{path}.{name}", "must be empty to be structural")
    for name, part in (schema.get("properties") or {}).items():
        _check_junctor(part, f"{path}.properties[{name}]", report)
    if isinstance(schema.get("items"), Mapping):
        _check_junctor(schema["items"], f"{path}.items", report)


def _check_defaults(schema: Schema, path: str, report: Report) -> None:
    if "default" in schema:
        found = Report()
        validate_value(schema, schema["default"], ABSENT, f"{path}.default", found)
        report.causes += found.causes
    for name, part in (schema.get("properties") or {}).items():
        _check_defaults(part, f"{path}.properties[{name}]", report)
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), Mapping):
            _check_defaults(schema[word], f"{path}.{word}", report)
