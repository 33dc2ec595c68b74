"""Types of expressions, and how a schema's types appear in them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cluster.api.facts import Shape, Type


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    params: tuple[Kind, ...] = ()
    struct: Type | None = None
    """Of an object whose fields are known."""

    def __str__(self) -> str:
        if self.params:
            return f"{self.name}({', '.join(map(str, self.params))})"
        return self.name


DYN = Kind("dyn")
BOOL = Kind("bool")
INT = Kind("int")
UINT = Kind("uint")
DOUBLE = Kind("double")
STRING = Kind("string")
BYTES = Kind("bytes")
NULL = Kind("null_type")
DURATION = Kind("google.protobuf.Duration")
TIMESTAMP = Kind("google.protobuf.Timestamp")
TYPE = Kind("type")
TYPE_NAMES = frozenset(
    ("bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint")
)
"""Types that are values in expressions: `type(x) == string`."""


def list_of(element: Kind) -> Kind:
    return Kind("list", (element,))


def map_of(key: Kind, value: Kind) -> Kind:
    return Kind("map", (key, value))


_FORMATS = {"date-time": TIMESTAMP, "date": TIMESTAMP, "duration": DURATION, "byte": BYTES}
_SHAPES = {
    Shape.INTEGER: INT,
    Shape.NUMBER: DOUBLE,
    Shape.BOOLEAN: BOOL,
    Shape.BYTES: STRING,
    Shape.TIME: TIMESTAMP,
    Shape.MICRO_TIME: TIMESTAMP,
}


def kind_of(type_: Type) -> Kind:
    """How values of a schema's type appear in an expression."""
    found: Kind | None = type_.compiled.get("cel")
    if found is None:
        found = type_.compiled["cel"] = _kind_of(type_)
    return found


_VISIBLE = ("generateName", "name")


def _visible(type_: Type) -> Type:
    """A custom object as rules see it: of its metadata only the name."""
    fields = dict(type_.fields)
    metadata = fields["metadata"].type
    named = {name: metadata.fields[name] for name in _VISIBLE}
    fields["metadata"] = replace(fields["metadata"], type=Type(shape=Shape.STRUCT, fields=named))
    return Type(shape=Shape.STRUCT, fields=fields, preserve_unknown=type_.preserve_unknown)


def _kind_of(type_: Type) -> Kind:
    match type_.shape:
        case Shape.STRUCT if type_.embedded:
            return Kind("object", (), _visible(type_))
        case Shape.STRUCT:
            if type_.preserve_unknown and not type_.fields:
                return DYN
            return Kind("object", (), type_)
        case Shape.MAP:
            return map_of(STRING, kind_of(type_.element) if type_.element else DYN)
        case Shape.LIST:
            return list_of(kind_of(type_.element) if type_.element else DYN)
        case Shape.STRING:
            return _FORMATS.get(type_.format, STRING)
    return _SHAPES.get(type_.shape, DYN)
