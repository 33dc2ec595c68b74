"""A client's connection that becomes a pod's: what follows an agreed upgrade is passed on as it comes."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from broker.supervision import start_task
from cluster.api.errors import ServiceUnavailable
from cluster.server.http.podconnection import PodConnection

SWITCHING = 101
MAX_WAITING = 1 << 20
"""Bytes of the client that the pod did not take yet; beyond that the client has to wait."""


class Incoming:
    """Takes the client's bytes from aiohttp's protocol, in place of its parser."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._pieces: list[bytes] = []
        self._ended = False
        self._news = asyncio.Event()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._pieces.append(data)
        if sum(map(len, self._pieces)) > MAX_WAITING:
            self._transport.pause_reading()
        self._news.set()
        return False, b""

    def feed_eof(self) -> None:
        self._ended = True
        self._news.set()

    async def next(self) -> bytes:
        """Empty at the end."""
        while not self._pieces and not self._ended:
            self._news.clear()
            await self._news.wait()
        data = b"".join(self._pieces)
        self._pieces.clear()
        if not self._ended:
            self._transport.resume_reading()
        return data

    def close(self) -> None:
        self._transport.close()


def taken_over(request: web.BaseRequest) -> Incoming | None:
    """The client's bytes from now on; None where the client is gone."""
    transport = request.transport
    if transport is None:
        return None
    incoming = Incoming(transport)
    parser: Any = incoming  # aiohttp's own is for WebSockets; it asks no more of one than this
    request.protocol.set_parser(parser)
    return incoming


async def switch(request: web.BaseRequest, pod: PodConnection, head: Any, early: bytes) -> web.StreamResponse:
    """`head`: the pod's answer 101; `early`: what came right behind it."""
    response = web.StreamResponse(status=SWITCHING, reason=head.reason.decode("latin-1"))
    for name, value in head.headers:
        response.headers.add(name.decode("ascii"), value.decode("latin-1"))
    await response.prepare(request)
    incoming = taken_over(request)
    if incoming is None:
        return response
    downward = start_task("upgraded connection", _down(incoming, pod))
    try:
        data = early or await pod.receive()
        while data:
            await response.write(data)
            data = await pod.receive()
    except (OSError, ServiceUnavailable):
        return response
    finally:
        downward.cancel()
        incoming.close()
    return response


async def _down(incoming: Incoming, pod: PodConnection) -> None:
    try:
        while data := await incoming.next():
            await pod.send(data)
    except ServiceUnavailable:
        return
