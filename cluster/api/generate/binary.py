"""A Go program's file, read by memory address: just enough of ELF (64 bit, little endian).

A shared library's pointers are only written into it when it is loaded, by relocations; those that add a
constant to the load address (R_X86_64_RELATIVE) are applied here with the load address 0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_MAGIC = b"\x7fELF\x02\x01"
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_RELOCATION = struct.Struct("<QQq")
_RELATIVE = 8
_IN_FILE = (0, 8)
"""Section types without contents: SHT_NULL, SHT_NOBITS."""


class NotReadable(Exception):
    """The file is not what this module can read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    name: str
    address: int
    offset: int
    size: int


class Binary:
    def __init__(self, path: Path) -> None:
        self._data = bytearray(path.read_bytes())
        if not self._data.startswith(_MAGIC):
            raise NotReadable(f"{path} is no 64 bit little endian ELF file")
        self.sections = self._sections()
        self._loaded = [s for s in self.sections.values() if s.address]
        self._last = self._loaded[0]
        if ".rela.dyn" in self.sections:
            self._relocate(self.sections[".rela.dyn"])

    def at(self, address: int, size: int) -> bytes:
        """Bytes at a memory address. Raises NotReadable outside the file's contents."""
        start = self._offset(address)
        return bytes(self._data[start : start + size])

    def word(self, address: int) -> int:
        return int.from_bytes(self.at(address, 8), "little")

    def words(self, address: int, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}Q", self.at(address, 8 * count))

    def byte(self, address: int) -> int:
        return self._data[self._offset(address)]

    def _sections(self) -> dict[str, Section]:
        header = _HEADER.unpack_from(self._data)
        start, size, count, names_index = header[6], header[11], header[12], header[13]
        rows = [_SECTION.unpack_from(self._data, start + i * size) for i in range(count)]
        names = rows[names_index][4]
        found: dict[str, Section] = {}
        for name, kind, _, address, offset, length, *_ in rows:
            if kind not in _IN_FILE:
                text = bytes(self._data[names + name : self._data.index(0, names + name)]).decode()
                found[text] = Section(name=text, address=address, offset=offset, size=length)
        return found

    def _offset(self, address: int) -> int:
        section = self._last
        if not section.address <= address < section.address + section.size:
            section = self._section_at(address)
            self._last = section
        return address - section.address + section.offset

    def _section_at(self, address: int) -> Section:
        for section in self._loaded:
            if section.address <= address < section.address + section.size:
                return section
        raise NotReadable(f"nothing is loaded at {address:#x}")

    def _relocate(self, table: Section) -> None:
        rows = self._data[table.offset : table.offset + table.size]
        for address, info, addend in _RELOCATION.iter_unpack(bytes(rows)):
            if info == _RELATIVE:
                start = self._offset(address)
                self._data[start : start + 8] = addend.to_bytes(8, "little")
