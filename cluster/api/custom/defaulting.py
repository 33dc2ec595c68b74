"""A structural schema's defaults, put into an object in place.

A null that the schema does not allow counts as left out. Defaults are put in from
the outside to the inside, so that a defaulted object's own fields are completed too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.api.objects import copy_of


def put_defaults(schema: Mapping[str, Any], value: Any) -> None:
    if isinstance(value, dict):
        _into_object(schema, value)
    elif isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, Mapping):
            for item in value:
                put_defaults(items, item)


def _into_object(schema: Mapping[str, Any], value: dict[str, Any]) -> None:
    properties: Mapping[str, Any] = schema.get("properties") or {}
    for name, part in properties.items():
        if "default" in part and (name not in value or (value[name] is None and not part.get("nullable"))):
            value[name] = copy_of(part["default"])
        elif name in value and value[name] is None and not part.get("nullable"):
            del value[name]
        if name in value:
            put_defaults(part, value[name])
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        for name, item in list(value.items()):
            if name in properties:
                continue
            if item is None and "default" in additional and not additional.get("nullable"):
                value[name] = item = copy_of(additional["default"])
            put_defaults(additional, item)


def has_defaults(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        if "default" in schema:
            return True
        parts = [*(schema.get("properties") or {}).values(), schema.get("items")]
        return any(has_defaults(part) for part in [*parts, schema.get("additionalProperties")])
    return False
