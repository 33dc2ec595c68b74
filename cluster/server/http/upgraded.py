"""A connection that left HTTP: after the answer 101 it carries bytes both ways, for SPDY.

It has the same `send_bytes` as a WebSocket, so what runs over one runs over the other.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from cluster.server.http.exchange import Exchange
from cluster.server.http.switching import SWITCHING, Incoming, taken_over

SPDY = "SPDY/3.1"
VERSION_HEADER = "X-Stream-Protocol-Version"
LINGER_S = 2.0
"""How long a client may take to close after it got everything."""


def wants_spdy(exchange: Exchange) -> bool:
    return exchange.request.headers.get("Upgrade", "").lower() == SPDY.lower()


def versions_offered(exchange: Exchange) -> list[str]:
    """In the client's order."""
    lines = exchange.request.headers.getall(VERSION_HEADER, [])
    return [version.strip() for line in lines for version in line.split(",") if version.strip()]


class Upgraded:
    def __init__(self, response: web.StreamResponse, incoming: Incoming | None) -> None:
        self.response = response
        self._incoming = incoming

    async def next(self) -> bytes:
        """Empty at the end."""
        return b"" if self._incoming is None else await self._incoming.next()

    async def send_bytes(self, data: bytes) -> None:
        """Raises ConnectionError once the client is gone."""
        await self.response.write(data)

    async def finish(self) -> None:
        """Lets the client read what is under way, then closes."""
        if self._incoming is None:
            return
        try:
            async with asyncio.timeout(LINGER_S):
                while await self._incoming.next():
                    pass
        except TimeoutError:
            pass
        self._incoming.close()


async def upgrade(exchange: Exchange, version: str) -> Upgraded:
    """Answers 101 with the version that was agreed on."""
    response = web.StreamResponse(status=SWITCHING, reason="Switching Protocols")
    response.headers["Connection"] = "Upgrade"
    response.headers["Upgrade"] = SPDY
    if version:
        response.headers[VERSION_HEADER] = version
    await response.prepare(exchange.request)
    return Upgraded(response, taken_over(exchange.request))
