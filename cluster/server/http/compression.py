"""Gzip of big answers, made beside the event loop, and of a list's items only once.

What is between the brackets of a list is the same for everybody until the next write; only the revision in
front of it moves on. So its compressed form is kept: blocks of the deflate format that refer to nothing
before them and end at a byte's end can be put behind others, under one gzip header and checksum.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import OrderedDict
from collections.abc import Sequence

LEVEL = 1
KEPT = 8
"""Compressed pieces that are kept."""
KEPT_FROM_BYTES = 128 * 1024
"""Smaller pieces are compressed each time."""
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\x03"
_END = b"\x03\x00"
"""An empty last block."""


class Gzip:
    def __init__(self) -> None:
        self._kept: OrderedDict[int, tuple[bytes, asyncio.Future[bytes]]] = OrderedDict()
        """By identity; the piece is kept beside, so that the identity stays its own."""

    async def pack(self, pieces: Sequence[bytes]) -> bytes:
        """The gzip form of `pieces` put together."""
        blocks = [await self._blocks(piece) for piece in pieces]
        checksum = size = 0
        for piece in pieces:
            checksum = zlib.crc32(piece, checksum)
            size += len(piece)
        trailer = checksum.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")
        return b"".join((_HEADER, *blocks, _END, trailer))

    async def _blocks(self, piece: bytes) -> bytes:
        if len(piece) < KEPT_FROM_BYTES:
            return _deflate(piece)
        kept = self._kept.get(id(piece))
        if kept is None:
            made = asyncio.get_running_loop().run_in_executor(None, _deflate, piece)
            kept = self._kept[id(piece)] = (piece, made)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(id(piece))
        return await asyncio.shield(kept[1])


def _deflate(piece: bytes) -> bytes:
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
