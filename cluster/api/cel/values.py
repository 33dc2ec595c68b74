"""Values that JSON has not got, equality and order across all of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any

from cluster.api.cel.errors import EvalError
from cluster.api.quantity import Quantity


class UInt(int):
    """An unsigned integer."""


@dataclass(frozen=True, slots=True)
class Optional:
    value: Any = None
    present: bool = False


NONE = Optional()


class Receiver:
    """A value made outside, whose own methods are its functions in expressions (the authorizer)."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class TypeValue:
    name: str


@dataclass(frozen=True, slots=True)
class Semver:
    order: tuple[int, int, int]
    pre: tuple[tuple[int, Any], ...]


Address = IPv4Address | IPv6Address
Network = IPv4Interface | IPv6Interface
"""A network with an address in it."""

_NUMBERS = (int, float)


def is_number(value: Any) -> bool:
    return isinstance(value, _NUMBERS) and not isinstance(value, bool)


def equal(left: Any, right: Any) -> bool:
    """CEL's ==: numbers by value whatever their type, anything else only within a type."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if is_number(left) and is_number(right):
        return bool(left == right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return len(left) == len(right) and all(
            key in right and equal(value, right[key]) for key, value in left.items()
        )
    return type(left) is type(right) and bool(left == right)


def less(left: Any, right: Any) -> bool:
    """Raises EvalError for values without an order."""
    comparable = (is_number(left) and is_number(right)) or (
        type(left) is type(right) and isinstance(left, (bool, str, bytes, datetime, timedelta, Quantity))
    )
    if not comparable:
        raise EvalError("no such overload")
    return bool(left < right)


def type_of(value: Any) -> str:
    match value:
        case None:
            return "null_type"
        case bool():
            return "bool"
        case UInt():
            return "uint"
        case int():
            return "int"
        case float():
            return "double"
        case str():
            return "string"
        case bytes():
            return "bytes"
        case list():
            return "list"
        case dict():
            return "map"
        case datetime():
            return "google.protobuf.Timestamp"
        case timedelta():
            return "google.protobuf.Duration"
        case Optional():
            return "optional_type"
        case Quantity():
            return "kubernetes.Quantity"
        case TypeValue():
            return "type"
    if isinstance(value, Network):
        return "net.CIDR"
    if isinstance(value, Address):
        return "net.IP"
    return type(value).__name__
