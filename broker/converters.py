"""Converters between the values of declared types and what MessagePack carries.

A type is read once and becomes a function; a message then passes through nothing but such functions.
Where Python and wire form agree (strings, numbers, JSON data) an encoder is `None`, so that whole lists of
them cost nothing to encode. Decoders check everything, except that `Any` is taken on trust where the packet
is known to hold plain JSON data (see `broker.message`).
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from operator import attrgetter
from typing import Any, Union, get_args, get_origin, get_type_hints

Encode = Callable[[Any], Any]
Decode = Callable[[Any], Any]

MAX_DEPTH = 200
"""How deep JSON data may be nested; the same order as what JSON libraries take."""


class Mismatch(Exception):
    """A value that is not of its declared type; says where and why."""


class Plainness(Enum):
    """Whether values declared `Any` are known to be plain JSON data."""

    KNOWN = "known"
    UNKNOWN = "unknown"


# --- encoding

_encoders: dict[type[Any], Encode] = {}


def encoder(declared: type[Any]) -> Encode:
    """The function that makes a MessagePack map of an instance of this dataclass."""
    found = _encoders.get(declared)
    if found is not None:
        return found
    # A type that contains itself finds this entry while its own encoder is being made.
    _encoders[declared] = lambda value: _encoders[declared](value)
    made = _encoders[declared] = _dataclass_encoder(declared)
    return made


def _dataclass_encoder(declared: type[Any]) -> Encode:
    hints = get_type_hints(declared)
    names = [field.name for field in fields(declared)]
    special: list[tuple[str, Encode]] = []
    for name in names:
        encode = _encoder_of(hints[name])
        if encode is not None:
            special.append((name, encode))
    values_of = attrgetter(*names) if len(names) > 1 else _few_values(names)

    def encode_fields(value: Any) -> dict[str, Any]:
        wire = dict(zip(names, values_of(value), strict=True))
        for name, encode in special:
            wire[name] = encode(wire[name])
        return wire

    return encode_fields


def _few_values(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """What attrgetter does for two names and more: for one it gives a bare value, for none it fails."""
    return lambda value: tuple(getattr(value, name) for name in names)


def _encoder_of(hint: Any) -> Encode | None:
    """None where the value is its own wire form."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _encode_optional(_encoder_of(_optional(hint, arguments)))
    if origin in (list, tuple):
        return _encode_list(_encoder_of(arguments[0]))
    if origin is dict:
        return _encode_dict(_encoder_of(arguments[1]))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return attrgetter("value")
    if is_dataclass(hint):
        return encoder(_as_type(hint))
    return None


def _encode_optional(inner: Encode | None) -> Encode | None:
    return inner and (lambda value: None if value is None else inner(value))


def _encode_list(element: Encode | None) -> Encode | None:
    return element and (lambda value: [element(item) for item in value])


def _encode_dict(element: Encode | None) -> Encode | None:
    return element and (lambda value: {key: element(item) for key, item in value.items()})


# --- decoding


class Decoders:
    """The decoding functions, made on first use."""

    def __init__(self, plainness: Plainness) -> None:
        self._plainness = plainness
        self._made: dict[type[Any], Decode] = {}

    def of(self, declared: type[Any]) -> Decode:
        """The function that makes an instance of this dataclass from a MessagePack map, or Mismatch."""
        found = self._made.get(declared)
        if found is not None:
            return found
        self._made[declared] = lambda value: self._made[declared](value)
        made = self._made[declared] = self._dataclass_decoder(declared)
        return made

    def _dataclass_decoder(self, declared: type[Any]) -> Decode:
        hints = get_type_hints(declared)
        known = [
            (field.name, self._decoder_of(hints[field.name]), _has_default(field))
            for field in fields(declared)
        ]

        def decode_fields(value: Any) -> Any:
            if type(value) is not dict:
                raise Mismatch(f"expected a map, not {_name(value)}")
            arguments = {}
            for name, decode, optional in known:
                if name in value:
                    try:
                        arguments[name] = decode(value[name])
                    except Mismatch as mismatch:
                        raise Mismatch(f"{name}: {mismatch}") from None
                elif not optional:
                    raise Mismatch(f"{name}: missing")
            return declared(**arguments)

        return decode_fields

    def _decoder_of(self, hint: Any) -> Decode:
        origin, arguments = get_origin(hint), get_args(hint)
        if hint is Any or hint is object:
            return _trust if self._plainness is Plainness.KNOWN else _plain_json
        if hint is float:
            return _float
        if hint in (bool, int, str, bytes):
            return _exactly(hint)
        if origin in (Union, types.UnionType):
            inner = self._decoder_of(_optional(hint, arguments))
            return lambda value: None if value is None else inner(value)
        if origin is list:
            return self._list_decoder(arguments[0])
        if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
            as_list = self._list_decoder(arguments[0])
            return lambda value: tuple(as_list(value))
        if origin is dict and arguments[0] is str:
            return self._dict_decoder(arguments[1])
        if isinstance(hint, type) and issubclass(hint, Enum):
            return _enum_decoder(hint)
        if is_dataclass(hint):
            return self.of(_as_type(hint))
        raise TypeError(f"a message can't have a field of type {hint!r}")

    def _list_decoder(self, element_hint: Any) -> Decode:
        element = self._decoder_of(element_hint)

        def decode_list(value: Any) -> list[Any]:
            if type(value) is not list:
                raise Mismatch(f"expected a list, not {_name(value)}")
            return value if element is _trust else [element(item) for item in value]

        return decode_list

    def _dict_decoder(self, element_hint: Any) -> Decode:
        element = self._decoder_of(element_hint)

        def decode_dict(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise Mismatch(f"expected a map, not {_name(value)}")
            if element is _trust:
                return value
            for key in value:
                if type(key) is not str:
                    raise Mismatch(f"expected a string as key, not {_name(key)}")
            return {key: element(item) for key, item in value.items()}

        return decode_dict


def _exactly(expected: type[Any]) -> Decode:
    def decode_value(value: Any) -> Any:
        if type(value) is not expected:
            raise Mismatch(f"expected {expected.__name__}, not {_name(value)}")
        return value

    return decode_value


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    raise Mismatch(f"expected float, not {_name(value)}")


def _trust(value: Any) -> Any:
    return value


def _plain_json(value: Any, depth: int = 0) -> Any:
    kind = type(value)
    if kind in (str, int, float, bool, types.NoneType):
        return value
    if depth > MAX_DEPTH:
        raise Mismatch(f"nested more than {MAX_DEPTH} deep")
    if kind is list:
        for item in value:
            _plain_json(item, depth + 1)
        return value
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise Mismatch(f"expected a string as key, not {_name(key)}")
            _plain_json(item, depth + 1)
        return value
    raise Mismatch(f"expected plain JSON data, not {_name(value)}")


def _enum_decoder(hint: type[Enum]) -> Decode:
    members = {member.value: member for member in hint}

    def decode_member(value: Any) -> Enum:
        member = members.get(value) if type(value) is str else None
        if member is None:
            raise Mismatch(f"expected one of {', '.join(members)}, not {value!r:.80}")
        return member

    return decode_member


# --- reading declarations


def _optional(hint: Any, arguments: tuple[Any, ...]) -> Any:
    """T of `T | None`."""
    present = [argument for argument in arguments if argument is not types.NoneType]
    if len(present) != 1 or len(arguments) != 2:
        raise TypeError(f"a message can't have a field of type {hint!r}")
    return present[0]


def _as_type(hint: Any) -> type[Any]:
    if not isinstance(hint, type):
        raise TypeError(f"a message can't have a field of type {hint!r}")
    return hint


def _has_default(field: Any) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _name(value: Any) -> str:
    return type(value).__name__
