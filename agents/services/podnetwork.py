"""The network as pods and their node use it: Services and policies on top of plain addresses.

A pod's connection to a Service goes straight to an endpoint, as kube-proxy's address translation on the
pod's own node does it; no listener and no other agent is involved. What a policy forbids is never answered,
as a dropped packet: the caller waits for its own deadline. A listener on a pod's address looks at its
clients too, for connections that came through sockets (real processes, the proxy's listeners); there the
connection already stands, so it is broken instead.
"""

from __future__ import annotations

import asyncio
from ssl import SSLContext
from typing import Protocol

from agents.network import DatagramHandler, Datagrams, Listener, Network, StreamHandler


class Dropped(Exception):
    """Nobody ever answers this connection."""


class Traffic(Protocol):
    """What decides about connections."""

    def resolve(self, source: str, ip: str, port: int) -> tuple[str, int]:
        """Where a connection really goes. Raises ConnectionRefusedError for a Service without endpoints,
        Dropped where the Service has some, but none for this client."""

    def permits(self, source: str, target: str, protocol: str, port: int) -> bool: ...


class PodNetwork:
    """`agents.network.Network` over another one."""

    def __init__(self, inner: Network, traffic: Traffic) -> None:
        self._inner = inner
        self._traffic = traffic

    async def attach(self, ip: str) -> None:
        await self._inner.attach(ip)

    async def detach(self, ip: str) -> None:
        await self._inner.detach(ip)

    async def listen(
        self,
        ip: str,
        port: int,
        handler: StreamHandler,
        *,
        shared: bool = False,
        tls: SSLContext | None = None,
    ) -> Listener:
        async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = writer.get_extra_info("peername")
            if self._traffic.permits(str(peer[0]) if peer else "", ip, "TCP", port):
                await handler(reader, writer)
            else:
                writer.transport.abort()

        return await self._inner.listen(ip, port, guarded, shared=shared, tls=tls)

    async def datagrams(
        self, ip: str, port: int, handler: DatagramHandler, *, shared: bool = False
    ) -> Datagrams:
        def guarded(data: bytes, sender: tuple[str, int]) -> None:
            if self._traffic.permits(sender[0], ip, "UDP", port):
                handler(data, sender)

        return await self._inner.datagrams(ip, port, guarded if port else handler, shared=shared)

    async def connect(
        self, ip: str, port: int, *, source_ip: str = ""
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            ip, port = self._traffic.resolve(source_ip, ip, port)
            answered = self._traffic.permits(source_ip, ip, "TCP", port)
        except Dropped:
            answered = False
        if not answered:
            await asyncio.get_running_loop().create_future()
        return await self._inner.connect(ip, port, source_ip=source_ip)
