"""The OpenAPI v2 document in protobuf, the only form in which client-go's `OpenAPISchema` asks for it.

The messages are those of gnostic's OpenAPIv2.proto, of which only the fields that our documents use are in
the
table below; anything else in a document is a bug and raises KeyError. Names starting with "x-" are
extensions,
carried as YAML text (JSON is YAML).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

_Encode = Callable[[Any], bytes]
Row = tuple[int, str]
"""Field number and kind: a scalar ("string", "bool"), "strings" for a list of strings, or a message's name;
"[]Name" is a list of messages."""

_MESSAGES: Final[dict[str, dict[str, Row]]] = {
    "Document": {
        "swagger": (1, "string"), "info": (2, "Info"), "paths": (8, "Paths"), "definitions": (9,
        "Definitions"),
    },
    "Info": {"title": (1, "string"), "version": (2, "string")},
    "PathItem": {
        "get": (2, "Operation"), "put": (3, "Operation"), "post": (4, "Operation"), "delete": (5,
        "Operation"),
        "options": (6, "Operation"), "head": (7, "Operation"),
        "patch": (8, "Operation"), "parameters": (9, "[]Parameter"), "x-": (10, "extension"),
    },
    "Operation": {
        "tags": (1, "strings"), "description": (3, "string"), "operationId": (5, "string"),
        "produces": (6, "strings"),
        "consumes": (7, "strings"), "parameters": (8, "[]Parameter"), "responses": (9, "Responses"),
        "schemes": (10, "strings"), "x-": (13, "extension"),
    },
    "BodyParameter": {
        "description": (1, "string"), "name": (2, "string"), "in": (3, "string"), "required": (4, "bool"),
        "schema": (5, "Schema"),
    },
    "QueryParameter": {
        "required": (1, "bool"), "in": (2, "string"), "description": (3, "string"), "name": (4, "string"),
        "type": (6, "string"), "uniqueItems": (20, "bool"),
    },
    "PathParameter": {
        "required": (1, "bool"), "in": (2, "string"), "description": (3, "string"), "name": (4, "string"),
        "type": (5, "string"), "uniqueItems": (19, "bool"),
    },
    "Response": {"description": (1, "string"), "schema": (2, "SchemaItem")},
    "Schema": {
        "$ref": (1, "string"), "format": (2, "string"), "title": (3, "string"), "description": (4, "string"),
        "default": (5, "any"), "multipleOf": (6, "double"), "maximum": (7, "double"),
        "exclusiveMaximum": (8, "bool"), "minimum": (9, "double"), "exclusiveMinimum": (10, "bool"),
        "maxLength": (11, "int"), "minLength": (12, "int"), "pattern": (13, "string"), "maxItems": (14,
        "int"),
        "minItems": (15, "int"), "uniqueItems": (16, "bool"), "maxProperties": (17, "int"),
        "minProperties": (18, "int"), "required": (19, "strings"), "enum": (20, "anys"),
        "additionalProperties": (21, "Additional"), "type": (22, "TypeItem"), "items": (23, "ItemsItem"),
        "properties": (25, "Definitions"), "externalDocs": (29, "ExternalDocs"), "example": (30, "any"),
        "x-": (31, "extension"),
    },
    "ExternalDocs": {"description": (1, "string"), "url": (2, "string")},
}  # fmt: skip


def encode(document: Mapping[str, Any]) -> bytes:
    """The document as gnostic's Document message; security definitions are left out."""
    kept = {name: value for name, value in document.items() if not name.startswith("security")}
    return _message("Document", kept)


def _message(name: str, value: Mapping[str, Any]) -> bytes:
    rows = _MESSAGES[name]
    parts = []
    for field, member in value.items():
        if field.startswith("x-"):
            number = rows["x-"][0]
            parts.append(_bytes(number, _text(1, field) + _bytes(2, _any(member))))
        else:
            parts.append(_field(rows[field], member))
    return b"".join(parts)


def _field(row: Row, value: Any) -> bytes:
    number, kind = row
    if kind.startswith("[]"):
        encode_item = _ENCODERS[kind[2:]]
        return b"".join([_bytes(number, encode_item(item)) for item in value])
    match kind:
        case "string":
            return _text(number, value)
        case "strings":
            return b"".join([_text(number, item) for item in value])
        case "anys":
            return b"".join([_bytes(number, _any(item)) for item in value])
        case "bool" | "int":
            return _key(number, 0) + _varint(int(value))
        case "double":
            return _key(number, 1) + _double(value)
    encoder = _ENCODERS.get(kind)
    return _bytes(number, encoder(value) if encoder is not None else _message(kind, value))


def _double(value: float) -> bytes:
    return struct.pack("<d", value)


def _named(number: int, values: Mapping[str, Any], encode_value: _Encode) -> bytes:
    """A map as a list of (name, value) messages."""
    return b"".join(
        [_bytes(number, _text(1, name) + _bytes(2, encode_value(value))) for name, value in values.items()]
    )


def _paths(paths: Mapping[str, Any]) -> bytes:
    return _named(2, paths, lambda item: _message("PathItem", item))


def _definitions(schemas: Mapping[str, Any]) -> bytes:
    return _named(1, schemas, _schema)


def _schema(schema: Mapping[str, Any]) -> bytes:
    return _message("Schema", schema)


def _parameter(parameter: Mapping[str, Any]) -> bytes:
    """Three nested choices: item or reference, body or not, and where the parameter is."""
    match parameter["in"]:
        case "body":
            return _bytes(1, _bytes(1, _message("BodyParameter", parameter)))
        case "query":
            return _bytes(1, _bytes(2, _bytes(3, _message("QueryParameter", parameter))))
    return _bytes(1, _bytes(2, _bytes(4, _message("PathParameter", parameter))))


def _responses(responses: Mapping[str, Any]) -> bytes:
    return _named(1, responses, lambda response: _bytes(1, _message("Response", response)))


def _additional(value: Any) -> bytes:
    return _key(2, 0) + _varint(int(value)) if isinstance(value, bool) else _bytes(1, _schema(value))


def _type(value: Any) -> bytes:
    return b"".join([_text(1, item) for item in ([value] if isinstance(value, str) else value)])


def _any(value: Any) -> bytes:
    return _bytes(2, orjson.dumps(value))


_ENCODERS: Final[dict[str, _Encode]] = {
    "Paths": _paths,
    "Definitions": _definitions,
    "Schema": _schema,
    "SchemaItem": lambda schema: _bytes(1, _schema(schema)),
    "ItemsItem": lambda schema: _bytes(1, _schema(schema)),
    "Parameter": _parameter,
    "Responses": _responses,
    "Additional": _additional,
    "TypeItem": _type,
    "any": _any,
}


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _bytes(number: int, value: bytes) -> bytes:
    return _key(number, 2) + _varint(len(value)) + value


def _key(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(value: int) -> bytes:
    if value < 128:
        return bytes((value,))
    parts = bytearray()
    while value >= 128:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)
