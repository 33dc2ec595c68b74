"""The struct types of a Go program, out of what its `reflect` package reads at run time.

The linker keeps a descriptor for every type that the program may reflect on: kind, name, fields, their types
and tags. The module data, in a section of its own, tells where the descriptors are; unnamed types (pointers,
slices, maps …) come first or are listed, and every named struct is reached from those.

Go up to 1.26 lists the offsets of the unnamed types' descriptors in the section `.typelink`. Go 1.27 has no
list: the descriptors stand one after the other, the module data says in how many bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.api.generate.binary import Binary

_MODULE = ".go.module"
_LINKS = ".typelink"
_TYPES_AT, _LENGTH_AT = 37, 38
"""Words of the module data: where descriptors start, and since 1.27 how many bytes the unnamed ones take."""

_ARRAY, _CHANNEL, _FUNCTION, _INTERFACE, _MAP, _POINTER, _SLICE, _, _STRUCT = range(17, 26)
_KIND_MASK = 31
_SIZE = 48
_SIZES = {
    _ARRAY: 72, _CHANNEL: 64, _FUNCTION: 56, _INTERFACE: 80, _MAP: 136, _POINTER: 56, _SLICE: 56, _STRUCT: 80,
}  # fmt: skip
"""Bytes of a descriptor, without what its length depends on (1.27; only maps changed lately)."""
_FLAGS_AT, _KIND_AT, _NAME_AT, _INNER_AT = 20, 23, 40, 48
_UNCOMMON, _EXTRA_STAR, _NAMED = 1, 2, 4
_UNCOMMON_SIZE, _METHOD_SIZE = 16, 16
_TAGGED, _EMBEDDED = 2, 8
_FIELD_SIZE = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class GoField:
    name: str
    type: GoType
    tag: str
    embedded: bool

    def tagged(self, key: str) -> str:
        """The value of one key of the tag, empty if it has none."""
        _, found, rest = self.tag.partition(f'{key}:"')
        return rest.partition('"')[0] if found else ""


@dataclass(frozen=True, slots=True)
class GoType:
    """A descriptor. Equal when it is the same one."""

    program: GoProgram
    address: int

    @property
    def name(self) -> str:
        """As Go prints it: "v1.Pod", "*int32", "map[string]string"."""
        return self.program.type_name(self.address)

    @property
    def is_pointer(self) -> bool:
        return self.program.kind(self.address) == _POINTER

    @property
    def is_struct(self) -> bool:
        return self.program.kind(self.address) == _STRUCT

    @property
    def pointed_to(self) -> GoType:
        """Itself if it is no pointer."""
        return GoType(self.program, self.program.inner(self.address)) if self.is_pointer else self

    @property
    def fields(self) -> tuple[GoField, ...]:
        return tuple(self.program.fields(self.address))


class GoProgram:
    def __init__(self, path: Path) -> None:
        self._binary = Binary(path)
        module = self._binary.sections[_MODULE]
        words = self._binary.words(module.address, module.size // 8)
        self._start = words[_TYPES_AT]
        if links := self._binary.sections.get(_LINKS):
            offsets = self._binary.at(links.address, links.size)
            unnamed = [self._start + offset for (offset,) in struct.iter_unpack("<i", offsets)]
        else:
            unnamed = list(self._in_sequence(self._start + words[_LENGTH_AT]))
        self._structs = self._reached(unnamed)

    def struct(self, name: str) -> GoType | None:
        """A struct type by its package's path and its name: "k8s.io/api/core/v1.Pod"."""
        address = self._structs.get(name)
        return None if address is None else GoType(self, address)

    def kind(self, address: int) -> int:
        return self._binary.byte(address + _KIND_AT) & _KIND_MASK

    def inner(self, address: int) -> int:
        """What a pointer points to, what a list holds."""
        return self._binary.word(address + _INNER_AT)

    def type_name(self, address: int) -> str:
        name = self._name(self._start + self._offset(address + _NAME_AT))[0]
        return name[1:] if self._flags(address) & _EXTRA_STAR else name

    def fields(self, address: int) -> Iterator[GoField]:
        first, count = self._binary.words(address + _INNER_AT + 8, 2)
        for i in range(count):
            name, type_ = self._binary.words(first + i * _FIELD_SIZE, 2)
            text, tag, flags = self._name(name)
            yield GoField(name=text, type=GoType(self, type_), tag=tag, embedded=bool(flags & _EMBEDDED))

    def _in_sequence(self, end: int) -> Iterator[int]:
        address = self._start + 8  # the first word is kept free, so that no type has offset 0
        while address < end:
            yield address
            address += self._size(address)

    def _size(self, address: int) -> int:
        kind = self.kind(address)
        size = _SIZES.get(kind, _SIZE)
        if self._flags(address) & _UNCOMMON:
            methods = int.from_bytes(self._binary.at(address + size + 4, 2), "little")
            size += _UNCOMMON_SIZE + methods * _METHOD_SIZE
        if kind == _FUNCTION:
            taken, given = struct.unpack("<HH", self._binary.at(address + _INNER_AT, 4))
            size += 8 * (taken + (given & 0x7FFF))  # the top bit says "variadic"
        elif kind == _INTERFACE:
            size += 8 * self._binary.word(address + _INNER_AT + 16)
        elif kind == _STRUCT:
            size += _FIELD_SIZE * self._binary.word(address + _INNER_AT + 16)
        return (size + 7) & ~7

    def _reached(self, waiting: list[int]) -> dict[str, int]:
        structs: dict[str, int] = {}
        seen: set[int] = set()
        while waiting:
            address = waiting.pop()
            if address in seen:
                continue
            seen.add(address)
            kind = self.kind(address)
            if kind in (_ARRAY, _POINTER, _SLICE):
                waiting.append(self.inner(address))
            elif kind == _MAP:  # key and value
                waiting += self._binary.words(address + _INNER_AT, 2)
            elif kind == _STRUCT:
                structs.setdefault(self._path_and_name(address), address)
                waiting += [f.type.address for f in self.fields(address)]
        return structs

    def _path_and_name(self, address: int) -> str:
        name = self.type_name(address)
        if not self._flags(address) & _NAMED or not self._flags(address) & _UNCOMMON:
            return name
        path = self._name(self._start + self._offset(address + _SIZES[_STRUCT]))[0]
        return f"{path}.{name.partition('.')[2]}"

    def _flags(self, address: int) -> int:
        return self._binary.byte(address + _FLAGS_AT)

    def _offset(self, address: int) -> int:
        return int.from_bytes(self._binary.at(address, 4), "little", signed=True)

    def _name(self, address: int) -> tuple[str, str, int]:
        """A name, its tag and its flags."""
        flags = self._binary.byte(address)
        text, end = self._text(address + 1)
        return text, self._text(end)[0] if flags & _TAGGED else "", flags

    def _text(self, address: int) -> tuple[str, int]:
        length = shift = 0
        more = 0x80
        while more & 0x80:
            more = self._binary.byte(address)
            length |= (more & 0x7F) << shift
            shift += 7
            address += 1
        return self._binary.at(address, length).decode(), address + length
