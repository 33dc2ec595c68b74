"""The types of the API as linked objects, which drive decoding, patches, server-side apply and OpenAPI.

`type_named` and `of` link the built-in types on demand out of `facts.json` (see `generate`), a type and
what it reaches at a time, so that importing costs nothing. Types made at run time from a custom resource's
structural schema are instances of the same classes; nothing here keeps them, whoever serves the resource
does (`of` knows only built-in ones).

Types link to each other and may be recursive. They are to be treated as immutable, except for `compiled`,
where other modules keep what they derive from a type.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Literal

import orjson

from cluster.api.resource import Resource

ListType = Literal["atomic", "set", "map"]


class Shape(Enum):
    STRUCT = "struct"
    """Named fields."""
    MAP = "map"
    """Any keys, one type of value."""
    LIST = "list"
    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    BYTES = "bytes"
    """Base64 in JSON."""
    QUANTITY = "quantity"
    INT_OR_STRING = "int-or-string"
    TIME = "time"
    MICRO_TIME = "micro-time"
    ANY_OBJECT = "any-object"
    """A JSON object that nobody looks into (RawExtension, FieldsV1)."""
    ANY = "any"
    """Any JSON value."""


@dataclass(slots=True, eq=False, kw_only=True)
class Type:
    shape: Shape
    name: str = ""
    """In the published schemas, e.g. io.k8s.api.core.v1.Pod; empty for anonymous ones."""
    go: str = ""
    """As Go prints the type, without pointer: "v1.Pod", "[]string", "int32"."""
    format: str = ""
    """int32, int64, double, or a structural schema's format."""
    fields: dict[str, Field] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    element: Type | None = None
    """Of a list's items or a map's values."""
    list_type: ListType = "atomic"
    map_keys: tuple[str, ...] = ()
    """Of a list of type map: which fields identify an item."""
    atomic: bool = False
    """Of a struct or map: server-side apply owns it as a whole."""
    preserve_unknown: bool = False
    """Of a struct: unknown fields are kept (custom resources)."""
    embedded: bool = False
    """Of a struct: a whole object with apiVersion, kind and metadata (custom resources)."""
    nullable: bool = False
    enum: tuple[Any, ...] = ()
    unions: tuple[dict[str, Any], ...] = ()
    kinds: tuple[tuple[str, str, str], ...] = ()
    """(group, version, kind) of a top-level type."""
    schema: dict[str, Any] | None = None
    """The structural schema it was made from."""
    compiled: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False, kw_only=True)
class Field:
    name: str
    type: Type
    merge_key: str = ""
    patch: tuple[str, ...] = ()
    """Strategies of the strategic merge patch: merge, replace, retainKeys."""
    keeps_zero: bool = False
    """Whether 0, "", false and empty lists and maps are different from leaving the field out."""
    always: bool = False
    """Written even when not set: `resources: {}`, `replicas: 0`."""
    default: Any = None
    """A structural schema's default; built-in kinds' are in `cluster.api.defaults`."""


@cache
def _table() -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = orjson.loads(Path(__file__).with_name("facts.json").read_bytes())
    return table


_linked: dict[str, Type] = {}


def names() -> tuple[str, ...]:
    """Of all built-in types, sorted."""
    return tuple(_table())


def type_named(name: str) -> Type:
    """A built-in type by its name in the published schemas. Raises KeyError."""
    found = _linked.get(name)
    return found if found is not None else _link(name)


def of(resource: Resource) -> Type:
    """The type of a built-in resource's objects. Raises KeyError for a custom one."""
    return type_named(resource.schema)


def raw(name: str) -> dict[str, Any]:
    """The row of `facts.json`, for documents made from it. Not to be changed."""
    return _table()[name]


def _link(name: str) -> Type:
    row = _table()[name]
    made = Type(
        shape=Shape(row["type"]),
        name=name,
        go=".".join(name.split(".")[-2:]),
        required=tuple(row.get("required", ())),
        atomic=row.get("mapType") == "atomic",
        unions=tuple(row.get("unions", ())),
        kinds=tuple((group, version, kind) for group, version, kind in row.get("kinds", ())),
    )
    _linked[name] = made  # before its fields: types may contain themselves
    required = frozenset(made.required)
    for field_name, facts in row.get("fields", {}).items():
        made.fields[field_name] = _field(field_name, facts, field_name in required)
    return made


def _field(name: str, facts: dict[str, Any], required: bool) -> Field:
    linked = _shape(facts)
    keeps_zero = (required or "kept" in facts) and "dropped" not in facts
    is_scalar = linked.shape not in (Shape.STRUCT, Shape.MAP, Shape.LIST)
    return Field(
        name=name,
        type=linked,
        merge_key=facts.get("mergeKey", ""),
        patch=tuple(facts["patch"].split(",")) if "patch" in facts else (),
        keeps_zero=keeps_zero,
        always="always" in facts or (required and is_scalar and keeps_zero and "pointer" not in facts),
    )


def _shape(facts: dict[str, Any]) -> Type:
    if "ref" in facts:
        linked = type_named(facts["ref"])
        map_type = facts.get("mapType")
        if map_type is not None and linked.atomic != (map_type == "atomic"):
            linked = replace(linked, atomic=map_type == "atomic", compiled={})
        return linked
    shape = Shape(facts["type"])
    element = _shape(facts["items"]) if "items" in facts else None
    return Type(
        shape=shape,
        go=facts.get("go") or _go_name(shape, facts.get("format", ""), element),
        format=facts.get("format", ""),
        element=element,
        list_type=facts.get("listType", "atomic"),
        map_keys=tuple(facts.get("mapKeys", ())),
        atomic=facts.get("mapType") == "atomic",
    )


def _go_name(shape: Shape, form: str, element: Type | None) -> str:
    match shape:
        case Shape.LIST:
            return "[]" + (element.go if element else "")
        case Shape.MAP:
            return "map[string]" + (element.go if element else "")
        case Shape.INTEGER:
            return form or "int32"
        case Shape.NUMBER:
            return "float64"
        case Shape.BOOLEAN:
            return "bool"
        case Shape.BYTES:
            return "[]uint8"
        case _:
            return "string"
