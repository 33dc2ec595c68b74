"""Reading a configuration strictly: what is unknown or of another kind is an error that names its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class ConfigurationError(ValueError):
    """The configuration is wrong; says where."""


def mapping(value: Any, where: str, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where or 'document'}: expected an object")
    for name in value:
        if name not in known:
            at = f"{where}.{name}" if where else name
            raise ConfigurationError(f"{at}: unknown field; known are {', '.join(sorted(known))}")
    return value


def sequence(body: Mapping[str, Any], name: str, where: str) -> Sequence[Any]:
    value = body.get(name, [])
    if not isinstance(value, list):
        raise ConfigurationError(f"{where}.{name}: expected a list")
    return value


def text(body: Mapping[str, Any], name: str, where: str, default: str) -> str:
    value = body.get(name, default)
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{where}.{name}: expected a name")
    return value


def one_of(body: Mapping[str, Any], name: str, where: str, default: str, known: Sequence[str]) -> str:
    value = text(body, name, where, default)
    if value not in known:
        raise ConfigurationError(f"{where}.{name}: {value!r} is none of {', '.join(known)}")
    return value


def whole(
    body: Mapping[str, Any], name: str, where: str, default: int, *, least: int = 0, most: int = 100
) -> int:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        at = f"{where}.{name}" if where else name
        raise ConfigurationError(f"{at}: expected a number from {least} to {most}")
    return value


def switch(body: Mapping[str, Any], name: str, where: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise ConfigurationError(f"{where}.{name}: expected true or false")
    return value
