"""Compiles a type into a closure that checks a value and builds its canonical copy.

A decoder is `decode(value, unknown)`; it raises `Misfit` and appends to `unknown` the name of every field it
pruned, only so that the caller knows there was one. Strings, most of what objects are made of, don't cost a
call. Compiled decoders are kept in `Type.compiled`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cluster.api.facts import Field, Shape, Type
from cluster.api.objects import copy_of
from cluster.api.structure.mismatch import TypeMismatch
from cluster.api.structure.scalars import scalar_decoder, zero_of

Decoder = Callable[[Any, list[str]], Any]
_KEY = "decoder"


def decoder_of(type_: Type) -> Decoder:
    found: Decoder | None = type_.compiled.get(_KEY)
    if found is None:
        found = type_.compiled[_KEY] = _compile(type_)
    return found


def _compile(type_: Type) -> Decoder:
    match type_.shape:
        case Shape.STRUCT:
            return _struct(type_)
        case Shape.MAP:
            return _map(type_)
        case Shape.LIST:
            return _list(type_)
        case Shape.ANY:
            return _any
        case Shape.ANY_OBJECT:
            return _any_object(type_.go)
        case _:
            scalar = scalar_decoder(type_)
            return lambda value, unknown: scalar(value)


def _any(value: Any, unknown: list[str]) -> Any:
    return copy_of(value)


def _any_object(go: str) -> Decoder:
    def decode(value: Any, unknown: list[str]) -> Any:
        if value.__class__ is not dict:
            raise TypeMismatch(value, go)
        return copy_of(value)

    return decode


def zero(type_: Type) -> Any:
    """What is written for a field of this type that is written always; None where that is nothing."""
    if type_.shape is Shape.STRUCT:
        return {field.name: made for field in _always(type_) if (made := zero(field.type)) is not None}
    return zero_of(type_.shape)


def _always(type_: Type) -> list[Field]:
    return [field for field in type_.fields.values() if field.always]


class _Table:
    """A struct's fields as the decoder's loop wants them. Filled after creation: types may be recursive."""

    __slots__ = ("always", "decoders", "keeps_zero", "strings")

    def __init__(self) -> None:
        self.strings: frozenset[str] = frozenset()
        self.decoders: dict[str, Decoder] = {}
        self.keeps_zero: frozenset[str] = frozenset()
        self.always: tuple[tuple[str, Any], ...] = ()

    def fill(self, type_: Type) -> None:
        fields = type_.fields.values()
        self.strings = frozenset(f.name for f in fields if f.type.shape is Shape.STRING)
        self.keeps_zero = frozenset(
            f.name for f in fields if f.keeps_zero or f.always or f.type.shape in _NEVER_ZERO
        )
        self.always = tuple((f.name, z) for f in _always(type_) if (z := zero(f.type)) is not None)
        self.decoders = {f.name: decoder_of(f.type) for f in fields}


_NEVER_ZERO = frozenset({Shape.STRUCT, Shape.ANY, Shape.ANY_OBJECT, Shape.QUANTITY, Shape.INT_OR_STRING})


def _struct(type_: Type) -> Decoder:
    table = _Table()
    name = type_.name.rpartition(".")[2]
    go = type_.go
    preserve = type_.preserve_unknown

    def decode(value: Any, unknown: list[str]) -> Any:
        if value.__class__ is not dict:
            raise TypeMismatch(value, go)
        out: dict[str, Any] = {}
        strings, decoders, keeps_zero = table.strings, table.decoders, table.keeps_zero
        key = ""
        try:
            for key, item in value.items():
                if item.__class__ is str and key in strings:
                    if item or key in keeps_zero:
                        out[key] = item
                    continue
                decoder = decoders.get(key)
                if decoder is None:
                    if preserve:
                        out[key] = copy_of(item)
                    else:
                        unknown.append(key)
                elif item is not None:
                    made = decoder(item, unknown)
                    if made or key in keeps_zero:
                        out[key] = made
        except TypeMismatch as mismatch:
            mismatch.within(name, key)
            raise
        for key, filling in table.always:
            if key not in out:
                out[key] = filling if filling.__class__ is not dict else copy_of(filling)
        return out

    type_.compiled[_KEY] = decode
    table.fill(type_)
    return decode


def _map(type_: Type) -> Decoder:
    assert type_.element is not None
    go = type_.go
    element = decoder_of(type_.element)
    null = _null_of(type_.element, element)
    strings_only = type_.element.shape is Shape.STRING

    def decode(value: Any, unknown: list[str]) -> Any:
        if value.__class__ is not dict:
            raise TypeMismatch(value, go)
        if strings_only and all([item.__class__ is str for item in value.values()]):
            return dict(value)
        return {key: element(item, unknown) if item is not None else null() for key, item in value.items()}

    return decode


def _list(type_: Type) -> Decoder:
    assert type_.element is not None
    go = type_.go
    element = decoder_of(type_.element)
    null = _null_of(type_.element, element)

    def decode(value: Any, unknown: list[str]) -> Any:
        if value.__class__ is not list:
            raise TypeMismatch(value, go)
        return [element(item, unknown) if item is not None else null() for item in value]

    return decode


def _null_of(type_: Type, decoder: Decoder) -> Callable[[], Any]:
    """Makes what a null inside a list or map becomes: Go's zero of the type."""
    if type_.shape in (Shape.STRUCT, Shape.MAP):
        return lambda: decoder({}, [])
    zero = zero_of(type_.shape)
    return lambda: zero
