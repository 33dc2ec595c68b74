"""Joins two connections: what one side sends the other gets, half-closed ones stay half closed."""

from __future__ import annotations

import asyncio

from broker.supervision import settled, start_task

PIECE = 64 << 10

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def join(near: Stream, far: Stream) -> None:
    """Until both directions have ended. An error on one side is an error on the other."""
    back = start_task("pump back", _pump(far[0], near[1], far[1]))
    try:
        await _pump(near[0], far[1], near[1])
        await settled(back)
    finally:
        back.cancel()
        for writer in (far[1], near[1]):
            writer.close()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, own: asyncio.StreamWriter
) -> None:
    try:
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()
    except OSError:
        writer.transport.abort()
        own.transport.abort()
