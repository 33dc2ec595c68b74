"""Decoders of single values. Each returns the canonical value or raises `Misfit`."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from cluster.api.facts import Shape, Type
from cluster.api.objects import micro_timestamp, timestamp
from cluster.api.quantity import QuantityError, canonical
from cluster.api.structure.mismatch import Misfit, TypeMismatch, found_in

Scalar = Callable[[Any], Any]
_LIMITS = {"int32": 2**31, "int64": 2**63}


def scalar_decoder(type_: Type) -> Scalar:
    match type_.shape:
        case Shape.STRING:
            return _string(type_.go)
        case Shape.INTEGER:
            return _integer(type_.go, _LIMITS.get(type_.format, 2**31))
        case Shape.NUMBER:
            return _number
        case Shape.BOOLEAN:
            return _boolean
        case Shape.BYTES:
            return _base64
        case Shape.QUANTITY:
            return _quantity
        case Shape.INT_OR_STRING:
            return _int_or_string
        case Shape.TIME:
            return _time
        case Shape.MICRO_TIME:
            return _micro_time
        case _:
            raise ValueError(f"{type_.shape} is no scalar")


def zero_of(shape: Shape) -> Any:
    """What Go writes for a value that isn't set."""
    return _ZEROS.get(shape)


_ZEROS: dict[Shape, Any] = {
    Shape.STRING: "",
    Shape.BYTES: "",
    Shape.INTEGER: 0,
    Shape.NUMBER: 0,
    Shape.BOOLEAN: False,
    Shape.QUANTITY: "0",
    Shape.INT_OR_STRING: 0,
}


def _string(go: str) -> Scalar:
    def decode(value: Any) -> Any:
        if value.__class__ is str:
            return value
        raise TypeMismatch(value, go)

    return decode


def _integer(go: str, limit: int) -> Scalar:
    def decode(value: Any) -> Any:
        if value.__class__ is int and -limit <= value < limit:
            return value
        raise TypeMismatch(value, go)

    return decode


def _number(value: Any) -> Any:
    if value.__class__ is float or value.__class__ is int:
        return value
    raise TypeMismatch(value, "float64")


def _boolean(value: Any) -> Any:
    if value.__class__ is bool:
        return value
    raise TypeMismatch(value, "bool")


def _base64(value: Any) -> Any:
    if value.__class__ is not str:
        raise TypeMismatch(value, "[]uint8")
    if "\n" in value or "\r" in value:  # lines are not part of the text, as for Go
        value = value.replace("\n", "").replace("\r", "")
    try:
        binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError):
        raise Misfit(f"illegal base64 data at input byte {_first_wrong_byte(value)}") from None
    return value


_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")


def _first_wrong_byte(text: str) -> int:
    found = _NOT_BASE64.search(text.rstrip("="))
    return found.start() if found else len(text)


def _quantity(value: Any) -> Any:
    if value.__class__ is not str and value.__class__ is not int and value.__class__ is not float:
        raise Misfit(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )
    try:
        return canonical(value)
    except QuantityError as error:
        raise Misfit(str(error)) from None


def _int_or_string(value: Any) -> Any:
    if value.__class__ is str:
        return value
    if value.__class__ is int and -(2**31) <= value < 2**31:
        return value
    raise Misfit(f"json: cannot unmarshal {found_in(value, 'int32')} into Go value of type int32")


_LAYOUT = ("2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def _time(value: Any) -> Any:
    return _canonical_time(value) if value.__class__ is str else _no_time(value)


def _micro_time(value: Any) -> Any:
    if value.__class__ is not str:
        return _no_time(value)
    return micro_timestamp(_moment(value, "2006-01-02T15:04:05.000000Z07:00"))


def _no_time(value: Any) -> Any:
    raise Misfit(f"json: cannot unmarshal {found_in(value, 'string')} into Go value of type string")


@lru_cache(maxsize=4096)
def _canonical_time(value: str) -> str:
    """Remembered: the conditions of one moment say the same few times."""
    return timestamp(_moment(value, "2006-01-02T15:04:05Z07:00"))


def _moment(value: str, layout: str) -> datetime:
    if _TIME.fullmatch(value):
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except ValueError:
            raise Misfit(f'parsing time "{value}": {_part_out_of_range(value)} out of range') from None
    rest, wanted = _first_misfit(value)
    raise Misfit(f'parsing time "{value}" as "{layout}": cannot parse "{rest}" as "{wanted}"')


def _first_misfit(text: str) -> tuple[str, str]:
    """The rest of the text where it leaves the layout, and the layout's element there."""
    position = 0
    for element in _LAYOUT:
        part = text[position : position + len(element)]
        if (part != element) if not element.isdigit() else not (part.isdigit() and len(part) == len(element)):
            return text[position:], element
        position += len(element)
    return text[position:], "Z07:00"


def _part_out_of_range(text: str) -> str:
    for name, part, highest in (
        ("month", text[5:7], 12),
        ("hour", text[11:13], 23),
        ("minute", text[14:16], 59),
    ):
        if int(part) > highest or (name == "month" and part == "00"):
            return name
    return "second" if int(text[17:19]) > 59 else "day"
