"""Gzip of big answers, made beside the event loop, and of a list's items only once.

What is between the brackets of a list is the same for everybody until the next write; only the revision in
front of it moves on. So its compressed form is kept: blocks of the deflate format that refer to nothing
before them and end at a byte's end can be put behind others, under one gzip header and checksum. The
checksum of the whole comes out of those of the parts: a CRC is linear, and what a part of known length does
to the one in front of it is a matrix over bits.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

LEVEL = 1
KEPT = 8
"""Compressed pieces that are kept."""
KEPT_FROM_BYTES = 128 * 1024
"""Smaller pieces are compressed each time."""
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\x03"
_END = b"\x03\x00"
"""An empty last block."""
_POLYNOMIAL = 0xEDB88320

Matrix: TypeAlias = list[int]
"""32 columns of 32 bits."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A piece that can stand anywhere in an answer."""

    blocks: bytes
    checksum: int
    size: int
    shift: Matrix
    """What `size` bytes of anything do to the checksum before them."""


class Gzip:
    def __init__(self) -> None:
        self._kept: OrderedDict[int, tuple[bytes, asyncio.Future[Packed]]] = OrderedDict()
        """By identity; the piece is kept beside, so that the identity stays its own."""

    async def pack(self, pieces: Sequence[bytes]) -> bytes:
        """The gzip form of `pieces` put together."""
        parts = [_HEADER]
        checksum = size = 0
        for piece in pieces:
            if len(piece) < KEPT_FROM_BYTES:
                parts.append(_deflate(piece))
                checksum = zlib.crc32(piece, checksum)
            else:
                packed = await self._packed(piece)
                parts.append(packed.blocks)
                checksum = _times(packed.shift, checksum) ^ packed.checksum
            size += len(piece)
        parts += (_END, checksum.to_bytes(4, "little"), (size & 0xFFFFFFFF).to_bytes(4, "little"))
        return b"".join(parts)

    async def _packed(self, piece: bytes) -> Packed:
        kept = self._kept.get(id(piece))
        if kept is None:
            made = asyncio.get_running_loop().run_in_executor(None, _pack, piece)
            kept = self._kept[id(piece)] = (piece, made)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(id(piece))
        return await asyncio.shield(kept[1])


def _pack(piece: bytes) -> Packed:
    return Packed(_deflate(piece), zlib.crc32(piece), len(piece), _shift(len(piece)))


def _deflate(piece: bytes) -> bytes:
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)


def _shift(length: int) -> Matrix:
    """The effect of `length` zero bytes on a checksum, by squaring the effect of one bit."""
    power: Matrix = [_POLYNOMIAL, *(1 << bit for bit in range(31))]
    result: Matrix = [1 << bit for bit in range(32)]
    bits = 8 * length
    while bits:
        if bits & 1:
            result = [_times(power, column) for column in result]
        power = [_times(power, column) for column in power]
        bits >>= 1
    return result


def _times(matrix: Matrix, vector: int) -> int:
    product = 0
    for column in matrix:
        if vector & 1:
            product ^= column
        vector >>= 1
    return product
