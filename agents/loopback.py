"""Pod networking through the machine's own sockets.

Every address of 127.0.0.0/8 can be bound without privileges, so pods get real addresses and really serve
there; `attach` has nothing to do. Where the pod CIDR lies elsewhere (containers with a routed network) the
addresses are set up from outside.

Divergence: without privileges Linux refuses ports below `net.ipv4.ip_unprivileged_port_start` (1024). Such
a port is served, and connected to, at 60000 + port instead: a pod's port 80 is at <pod ip>:60080. Everyone
who runs as the same user on this machine applies the same rule, see `reachable_port`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from functools import lru_cache
from pathlib import Path
from ssl import SSLContext

from agents.network import AddressInUse, DatagramHandler, Datagrams, Listener, StreamHandler

LOCALHOST = "127.0.0.1"
SHIFT = 60000
BACKLOG = 512
"""Connections that may wait to be accepted."""
_PORT_START = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_STATUS = Path("/proc/self/status")
_CAP_NET_BIND_SERVICE = 10
_IP_BIND_ADDRESS_NO_PORT = 24
"""Binding to a source address leaves the port to connect(): else it has 28,000 connections a minute."""


@lru_cache(1)
def lowest_free_port() -> int:
    """The lowest port that this process may listen on."""
    if not hasattr(os, "geteuid") or _may_bind_low_ports():
        return 0
    try:
        return int(_PORT_START.read_text())
    except OSError:
        return 1024


def _may_bind_low_ports() -> bool:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return os.geteuid() == 0
    effective = next(line for line in lines if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> _CAP_NET_BIND_SERVICE & 1)


def reachable_port(port: int) -> int:
    """Where a pod's port really is on this machine; 0 stays any port."""
    return port + SHIFT if 0 < port < lowest_free_port() and port + SHIFT < 65536 else port


class LoopbackListener:
    """A listening socket and the connections it took."""

    def __init__(self, handler: StreamHandler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._open: dict[int, asyncio.StreamWriter] = {}

    async def open(self, ip: str, port: int, shared: bool, tls: SSLContext | None) -> None:
        try:
            self._server = await asyncio.start_server(
                self._serve,
                ip,
                reachable_port(port),
                reuse_address=True,
                reuse_port=shared,
                family=socket.AF_INET,
                backlog=BACKLOG,
                ssl=tls,
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse(f"listen tcp {ip}:{port}: bind: address already in use") from error
            raise

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[id(writer)] = writer
        try:
            await self._handler(reader, writer)
        finally:
            del self._open[id(writer)]
            writer.close()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._open.values()):
            writer.transport.abort()


class LoopbackDatagrams(asyncio.DatagramProtocol):
    """A UDP socket."""

    def __init__(self, handler: DatagramHandler) -> None:
        self._handler = handler
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, ip: str, port: int, shared: bool) -> None:
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.setblocking(False)
            sock.bind((ip, reachable_port(port)))
        except OSError as error:
            sock.close()
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse(f"listen udp {ip}:{port}: bind: address already in use") from error
            raise
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=sock)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._handler(data, (addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        """A peer that is gone answers with ICMP; senders of datagrams don't know, and need not."""

    def send(self, data: bytes, address: tuple[str, int]) -> None:
        if self._transport is not None:
            self._transport.sendto(data, (address[0], reachable_port(address[1])))

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class LoopbackNetwork:
    """`agents.network.Network` on real sockets."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[LoopbackListener | LoopbackDatagrams]] = {}

    async def attach(self, ip: str) -> None:
        self._listeners.setdefault(ip, [])

    async def detach(self, ip: str) -> None:
        for listener in self._listeners.pop(ip, ()):
            await listener.close()

    async def listen(
        self,
        ip: str,
        port: int,
        handler: StreamHandler,
        *,
        shared: bool = False,
        tls: SSLContext | None = None,
    ) -> Listener:
        listener = LoopbackListener(handler)
        await listener.open(ip, port, shared, tls)
        if ip in self._listeners:
            self._listeners[ip].append(listener)
        return listener

    async def datagrams(
        self, ip: str, port: int, handler: DatagramHandler, *, shared: bool = False
    ) -> Datagrams:
        opened = LoopbackDatagrams(handler)
        await opened.open(ip, port, shared)
        if ip in self._listeners:
            self._listeners[ip].append(opened)
        return opened

    async def connect(
        self, ip: str, port: int, *, source_ip: str = ""
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if not source_ip or source_ip == LOCALHOST:
            return await asyncio.open_connection(ip, reachable_port(port))
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source_ip, 0))
            await asyncio.get_running_loop().sock_connect(sock, (ip, reachable_port(port)))
            return await asyncio.open_connection(sock=sock)
        except BaseException:
            sock.close()
            raise
