"""Structural schemas as `facts.Type`s: what pruning, ownership and expression checks go by.

Values of the wrong type are no decoding errors for custom resources, as they are for built-in kinds: the
decoder put into the types here only prunes, and validation complains later, in OpenAPI's words. Only the
metadata is decoded strictly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.api import facts
from cluster.api.custom.defaulting import put_defaults
from cluster.api.facts import Field, ListType, Shape, Type
from cluster.api.objects import copy_of
from cluster.api.structure.compiling import Decoder, decoder_of
from cluster.api.structure.mismatch import TypeMismatch

Schema = Mapping[str, Any]

PRESERVE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"
EMBEDDED = "x-kubernetes-embedded-resource"
LIST_TYPE = "x-kubernetes-list-type"
LIST_KEYS = "x-kubernetes-list-map-keys"
MAP_TYPE = "x-kubernetes-map-type"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_SCALARS = {
    "string": Shape.STRING,
    "integer": Shape.INTEGER,
    "number": Shape.NUMBER,
    "boolean": Shape.BOOLEAN,
}
_GO = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}


def root_type(schema: Schema) -> Type:
    """The type of a whole custom object."""
    made = _type({**schema, EMBEDDED: True})
    made.compiled["defaults"] = lambda obj: put_defaults(schema, obj)
    return made


def _type(schema: Schema) -> Type:
    made = _shaped(schema)
    made.nullable = bool(schema.get("nullable"))
    made.format = schema.get("format", "")
    made.enum = tuple(schema.get("enum") or ())
    made.schema = dict(schema)
    made.compiled["decoder"] = _decoder(made)
    return made


def _shaped(schema: Schema) -> Type:
    kind = schema.get("type", "")
    if schema.get(INT_OR_STRING):
        return Type(shape=Shape.INT_OR_STRING, go="intstr.IntOrString")
    if kind == "object":
        return _object(schema)
    if kind == "array":
        list_type: ListType = schema.get(LIST_TYPE, "atomic")
        return Type(
            shape=Shape.LIST,
            go="[]interface {}",
            element=_type(schema.get("items") or {}),
            list_type=list_type,
            map_keys=tuple(schema.get(LIST_KEYS) or ()),
        )
    if kind in _SCALARS:
        return Type(shape=_SCALARS[kind], go=_GO[kind])
    return Type(shape=Shape.ANY, go="interface {}")


def _object(schema: Schema) -> Type:
    atomic = schema.get(MAP_TYPE) == "atomic"
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        return Type(shape=Shape.MAP, go="map[string]interface {}", element=_type(additional), atomic=atomic)
    made = Type(
        shape=Shape.STRUCT,
        go="map[string]interface {}",
        atomic=atomic,
        preserve_unknown=bool(schema.get(PRESERVE)) or additional is True,
        embedded=bool(schema.get(EMBEDDED)),
        required=tuple(schema.get("required") or ()),
    )
    for name, part in (schema.get("properties") or {}).items():
        made.fields[name] = Field(name=name, type=_type(part), keeps_zero=True, default=part.get("default"))
    if made.embedded:
        for name in ("apiVersion", "kind"):
            made.fields[name] = Field(name=name, type=Type(shape=Shape.STRING, go="string"))
        made.fields["metadata"] = Field(name="metadata", type=facts.type_named(OBJECT_META))
    return made


def _decoder(type_: Type) -> Decoder:
    """Builds a pruned copy; values that don't fit are copied as they are."""
    match type_.shape:
        case Shape.STRUCT:
            return _struct(type_)
        case Shape.MAP if type_.element is not None:
            of_value = decoder_of(type_.element)
            return lambda value, unknown: (
                {key: of_value(item, unknown) for key, item in value.items()}
                if value.__class__ is dict
                else copy_of(value)
            )
        case Shape.LIST if type_.element is not None:
            of_item = decoder_of(type_.element)
            return lambda value, unknown: (
                [of_item(item, unknown) for item in value] if value.__class__ is list else copy_of(value)
            )
        case _:
            return lambda value, unknown: copy_of(value)


def _struct(type_: Type) -> Decoder:
    decoders = {name: decoder_of(field.type) for name, field in type_.fields.items()}
    preserve = type_.preserve_unknown
    embedded = type_.embedded

    def decode(value: Any, unknown: list[str]) -> Any:
        if value.__class__ is not dict:
            return copy_of(value)
        out: dict[str, Any] = {}
        for key, item in value.items():
            decoder = decoders.get(key)
            if decoder is None:
                if preserve:
                    out[key] = copy_of(item)
                else:
                    unknown.append(key)
            elif embedded and key in _OBJECT_FIELDS:
                _put_object_field(out, key, item, decoder, unknown)
            else:
                out[key] = decoder(item, unknown)
        return out

    return decode


_OBJECT_FIELDS = ("apiVersion", "kind", "metadata")


def _put_object_field(out: dict[str, Any], key: str, item: Any, decoder: Decoder, unknown: list[str]) -> None:
    if key != "metadata":
        out[key] = item
    elif item is not None:
        try:
            out[key] = decoder(item, unknown)
        except TypeMismatch as mismatch:
            mismatch.within("ObjectMeta", "metadata")
            raise
