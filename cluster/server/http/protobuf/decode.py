"""Decodes Kubernetes' protobuf into the JSON form of the same object.

The envelope is four magic bytes and a message with apiVersion, kind and the object's own bytes. Go writes
every field that is not a pointer, so empty strings, zeros and empty times arrive that JSON would leave out;
structural decoding drops them afterwards, as it does for JSON that spells them out.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from cluster.api import facts
from cluster.api.errors import BadRequest
from cluster.api.facts import Shape, Type
from cluster.api.objects import Object, micro_timestamp, timestamp
from cluster.api.registry import Registry
from cluster.api.resource import Resource

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_OTHER_KINDS = {
    ("policy/v1", "Eviction"): "io.k8s.api.policy.v1.Eviction",
    ("autoscaling/v1", "Scale"): "io.k8s.api.autoscaling.v1.Scale",
    ("authentication.k8s.io/v1", "TokenRequest"): "io.k8s.api.authentication.v1.TokenRequest",
    ("v1", "Binding"): "io.k8s.api.core.v1.Binding",
}
"""Bodies of subresources, which have a kind that is no resource."""
_DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"

Read = Callable[[Any], Any]


class _Malformed(Exception):
    """Bytes that are no message of the type they should be."""


def has_form(resource: Resource) -> bool:
    """Whether objects of the resource can come in protobuf."""
    return resource.schema in _numbers()


def object_of(body: bytes, registry: Registry) -> Object:
    """The object in a request body. Raises BadRequest."""
    try:
        api_version, kind, raw = _envelope(body)
        value = _message(facts.type_named(_schema(api_version, kind, registry)), raw)
    except (_Malformed, IndexError, UnicodeDecodeError, orjson.JSONDecodeError, OverflowError) as error:
        raise BadRequest(f"the protobuf body can't be decoded: {error}") from None
    return {"apiVersion": api_version, "kind": kind, **value}


def value_of(body: bytes) -> Object:
    """DeleteOptions, which come with any group's version."""
    try:
        api_version, kind, raw = _envelope(body)
        value = _message(facts.type_named(_DELETE_OPTIONS), raw)
    except (_Malformed, IndexError, UnicodeDecodeError, orjson.JSONDecodeError) as error:
        raise BadRequest(f"the protobuf body can't be decoded: {error}") from None
    return {"apiVersion": api_version, "kind": kind, **value}


def _schema(api_version: str, kind: str, registry: Registry) -> str:
    resource = registry.of_kind(api_version, kind)
    schema = resource.schema if resource is not None else _OTHER_KINDS.get((api_version, kind), "")
    if schema not in _numbers():
        raise _Malformed(f'no kind "{kind}" is registered for version "{api_version}"')
    return schema


def _envelope(body: bytes) -> tuple[str, str, memoryview]:
    if not body.startswith(_MAGIC):
        raise _Malformed(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        )
    api_version = kind = ""
    raw = memoryview(b"")
    for number, value in _fields(memoryview(body)[4:]):
        if number == 1:
            for inner, text in _fields(value):
                api_version = _text(text) if inner == 1 else api_version
                kind = _text(text) if inner == 2 else kind
        elif number == 2:
            raw = value
    return api_version, kind, raw


@cache
def _numbers() -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = orjson.loads(Path(__file__).with_name("numbers.json").read_bytes())
    return table


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Field numbers and raw values: an int for numbers, a slice for everything else."""
    position, end = 0, len(data)
    while position < end:
        tag, position = _varint(data, position)
        wire = tag & 7
        if wire == _BYTES:
            length, position = _varint(data, position)
            value: Any = data[position : position + length]
            if len(value) != length:
                raise _Malformed("unexpected EOF")
            position += length
        elif wire == _VARINT:
            value, position = _varint(data, position)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
            value = data[position : position + length]
            position += length
        else:
            raise _Malformed(f"illegal wire type {wire}")
        yield tag >> 3, value


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
        if shift > 63:
            raise _Malformed("integer overflow")


def _message(type_: Type, data: Any) -> Object:
    return _filled({}, type_, _numbers().get(type_.name, {}), data)


def _filled(made: Object, type_: Type, table: dict[str, Any], data: Any) -> Object:
    if not isinstance(data, memoryview):
        raise _Malformed("wrong wire type")
    for number, value in _fields(data):
        name = table.get(str(number))
        if isinstance(name, dict):  # a message that JSON writes without a name of its own
            _filled(made, type_, name, value)
        elif name is not None:
            _set(made, name, type_.fields[name].type, value)
    return made


def _set(made: Object, name: str, type_: Type, value: Any) -> None:
    if type_.shape is Shape.LIST:
        made.setdefault(name, []).extend(_elements(_element(type_), value))
    elif type_.shape is Shape.MAP:
        key, item = _entry(_element(type_), value)
        made.setdefault(name, {})[key] = item
    else:
        read = _value(type_, value)
        if read is not None:
            made[name] = read


def _element(type_: Type) -> Type:
    if type_.element is None:
        raise _Malformed(f"{type_.go} has no element type")
    return type_.element


def _elements(element: Type, value: Any) -> list[Any]:
    if element.shape in (Shape.INTEGER, Shape.BOOLEAN) and isinstance(value, memoryview):
        packed, position = [], 0
        while position < len(value):
            number, position = _varint(value, position)
            packed.append(_value(element, number))
        return packed
    return [_value(element, value)]


def _entry(element: Type, data: memoryview) -> tuple[str, Any]:
    key, value = "", _EMPTY
    for number, part in _fields(data):
        if number == 1:
            key = _text(part)
        elif number == 2:
            value = part
    if element.shape is Shape.LIST:  # Go's named list types are messages with one repeated field
        inner = _element(element)
        return key, [_value(inner, item) for number, item in _fields(value) if number == 1]
    return key, _value(element, value)


_EMPTY = memoryview(b"")


def _value(type_: Type, value: Any) -> Any:
    return _READERS[type_.shape](type_, value)


def _text(value: Any) -> str:
    return bytes(value).decode()


def _integer(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _double(value: memoryview) -> float:
    import struct

    number: float = struct.unpack("<d", value)[0]
    return number


def _quantity(value: memoryview) -> str:
    return next((_text(part) for number, part in _fields(value) if number == 1), "0")


def _int_or_string(value: memoryview) -> int | str:
    parts = dict(_fields(value))
    return _text(parts.get(3, b"")) if parts.get(1) else _integer(parts.get(2, 0))


def _moment(value: memoryview) -> datetime | None:
    """None for Go's zero time, which is written as an empty message."""
    parts = dict(_fields(value))
    if not parts:
        return None
    return _EPOCH + timedelta(seconds=_integer(parts.get(1, 0)), microseconds=parts.get(2, 0) // 1000)


def _time(value: memoryview) -> str | None:
    moment = _moment(value)
    return None if moment is None else timestamp(moment)


def _micro_time(value: memoryview) -> str | None:
    moment = _moment(value)
    return None if moment is None else micro_timestamp(moment)


def _raw_json(value: memoryview) -> Any:
    raw = next((bytes(part) for number, part in _fields(value) if number == 1), b"")
    return orjson.loads(raw) if raw else None


_SCHEMA = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"


def _any(type_: Type, value: memoryview) -> Any:
    """Raw JSON, or a message that holds a schema or something simpler: one of the two stands in JSON."""
    if type_.name == _SCHEMA + "OrBool":
        parts = dict(_fields(value))
        return _schema_of(parts[2]) if 2 in parts else bool(parts.get(1))
    if type_.name in (_SCHEMA + "OrArray", _SCHEMA + "OrStringArray"):
        read = _schema_of if type_.name.endswith("OrArray") else _text
        parts_in_order = list(_fields(value))
        schema = next((part for number, part in parts_in_order if number == 1), None)
        return _schema_of(schema) if schema is not None else [read(part) for _, part in parts_in_order]
    return _raw_json(value)


def _schema_of(value: Any) -> Object:
    return _message(facts.type_named(_SCHEMA), value)


_READERS: dict[Shape, Callable[[Type, Any], Any]] = {
    Shape.STRUCT: _message,
    Shape.STRING: lambda _, value: _text(value),
    Shape.INTEGER: lambda _, value: _integer(value),
    Shape.NUMBER: lambda _, value: _double(value),
    Shape.BOOLEAN: lambda _, value: bool(value),
    Shape.BYTES: lambda _, value: b64encode(value).decode(),
    Shape.QUANTITY: lambda _, value: _quantity(value),
    Shape.INT_OR_STRING: lambda _, value: _int_or_string(value),
    Shape.TIME: lambda _, value: _time(value),
    Shape.MICRO_TIME: lambda _, value: _micro_time(value),
    Shape.ANY_OBJECT: lambda _, value: _raw_json(value),
    Shape.ANY: _any,
}
