"""exec and attach over SPDY/3.1: how kubectl did up to 1.30, and how many programs with client-go do.

The client opens a stream for each of error, stdin, stdout, stderr and resize; each says in its headers which
it is. Version 4 gets the final Status as JSON on the error stream, older ones the text of a failure.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from broker.supervision import Tasks
from cluster.api.errors import BadRequest, InternalError
from cluster.server.http.exchange import Exchange
from cluster.server.http.spdy import Data, Opened, Ping, Reset, Spdy, SpdyError, data_frame, ping_frame
from cluster.server.http.upgraded import Upgraded, upgrade, versions_offered
from cluster.server.streams import Stream

V4 = "v4.channel.k8s.io"
VERSIONS = (V4, "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
RESIZING = VERSIONS[:2]
STREAMS_S = 30.0
"""How long the client may take to open its streams."""
_PIECE_BYTES = 32 * 1024
_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE = range(5)
_CHANNELS = {"stdin": _STDIN, "stdout": _STDOUT, "stderr": _STDERR, "error": _ERROR, "resize": _RESIZE}


def version_of(exchange: Exchange) -> str:
    """The first one the client offers that is known; who offers none speaks the first. Raises BadRequest."""
    offered = versions_offered(exchange)
    if not offered:
        return ""
    for version in offered:
        if version in VERSIONS:
            return version
    raise BadRequest(f"unable to upgrade: unable to negotiate protocol: client supports {offered}")


async def run_over_spdy(
    exchange: Exchange, version: str, options: dict[str, Any], stream: Stream
) -> Upgraded:
    """`stream`: to the node, already open."""
    connection = await upgrade(exchange, version)
    command = _Command(connection, version, options, stream)
    tasks = Tasks()
    try:
        tasks.start("from the client", command.pass_in())
        await command.pass_out()
    except (ConnectionError, TimeoutError):
        return connection  # the client is gone
    finally:
        await stream.close()
        await tasks.close()
        await connection.finish()
    return connection


class _Command:
    def __init__(self, connection: Upgraded, version: str, options: dict[str, Any], stream: Stream) -> None:
        self._connection = connection
        self._version = version
        self._stream = stream
        self._spdy = Spdy()
        wanted = [name for name in ("stdin", "stdout", "stderr") if options[name]]
        if options["tty"] and version in RESIZING:
            wanted.append("resize")
        self._missing = {_CHANNELS[name] for name in ("error", *wanted)}
        self._by_channel: dict[int, int] = {}
        self._by_stream: dict[int, int] = {}
        self._complete = asyncio.Event()

    async def pass_in(self) -> None:
        """From the client to the node; a client that goes away ends the command's stream."""
        try:
            while data := await self._connection.next():
                for frame in self._spdy.received(data):
                    match frame:
                        case Opened(stream, headers):
                            await self._open(stream, headers.get("streamtype", ""))
                        case Data(stream, body, fin):
                            await self._received(self._by_stream.get(stream, -1), body, fin)
                        case Reset(stream):
                            await self._received(self._by_stream.get(stream, -1), b"", True)
                        case Ping(number):
                            await self._connection.send_bytes(ping_frame(number))
        except (SpdyError, ConnectionError):
            pass  # it can't go on
        await self._stream.close()

    async def _open(self, stream: int, kind: str) -> None:
        await self._connection.send_bytes(self._spdy.reply(stream))
        if kind in _CHANNELS:
            channel = _CHANNELS[kind]
            self._by_channel[channel], self._by_stream[stream] = stream, channel
            self._missing.discard(channel)
            if not self._missing:
                self._complete.set()

    async def _received(self, channel: int, data: bytes, fin: bool) -> None:
        if channel == _STDIN and (data or fin):
            await self._stream.send(_STDIN, data, eof=fin)
        elif channel == _RESIZE and data.strip():
            await self._stream.send(_RESIZE, data.strip())

    async def pass_out(self) -> None:
        """From the node to the client, until both know how the command ended."""
        async with asyncio.timeout(STREAMS_S):
            await self._complete.wait()
        status = b""
        while not status and (received := await self._stream.receive()) is not None:
            channel, data, _ = received
            if channel == _ERROR:
                status = data
            elif data:
                await self._write(channel, data)
        if not status:
            failure = InternalError(self._stream.error).status() if self._stream.error else None
            status = orjson.dumps(failure or {"metadata": {}, "status": "Success"})
        await self._write(_ERROR, self._told(status))
        for channel in (_STDOUT, _STDERR, _ERROR):
            if channel in self._by_channel:
                await self._connection.send_bytes(data_frame(self._by_channel[channel], b"", fin=True))

    def _told(self, status: bytes) -> bytes:
        if self._version == V4:
            return status
        known = orjson.loads(status)
        return b"" if known.get("status") == "Success" else str(known.get("message", "")).encode()

    async def _write(self, channel: int, data: bytes) -> None:
        stream = self._by_channel.get(channel)
        if stream is None:
            return
        for start in range(0, len(data), _PIECE_BYTES):
            await self._connection.send_bytes(data_frame(stream, data[start : start + _PIECE_BYTES]))
