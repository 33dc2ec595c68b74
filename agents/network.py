"""The network that pods live in, as a Protocol.

`LoopbackNetwork` uses the machine's own sockets (pod IPs out of 127.0.0.0/8, or addresses of the node's
pod CIDR in a container); `MemoryNetwork` carries the same streams through memory for simulations. Both
give asyncio streams, so probes, emulated servers and traffic generators are written once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ssl import SSLContext
from typing import Protocol

StreamHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Serves one connection; the network closes the writer when it returns."""


DatagramHandler = Callable[[bytes, tuple[str, int]], None]
"""Takes one datagram and its sender's address."""


class AddressInUse(Exception):
    """Somebody already listens on this address and port."""


class Listener(Protocol):
    async def close(self) -> None:
        """Stops accepting and breaks open connections."""


class Datagrams(Protocol):
    """A UDP socket."""

    def send(self, data: bytes, address: tuple[str, int]) -> None:
        """To a port as `Network.connect` means it, or back to the address that a datagram came from."""

    async def close(self) -> None: ...


class Network(Protocol):
    async def attach(self, ip: str) -> None:
        """Makes a pod's address usable on this node (CNI ADD)."""

    async def detach(self, ip: str) -> None:
        """Releases it, with whatever still listens there (CNI DEL)."""

    async def listen(
        self,
        ip: str,
        port: int,
        handler: StreamHandler,
        *,
        shared: bool = False,
        tls: SSLContext | None = None,
    ) -> Listener:
        """`shared`: others who say so too may listen there as well, and each connection goes to one of
        them. `tls`: connections are encrypted (not in a simulation). Raises AddressInUse, and OSError
        where the address is not this machine's."""

    async def datagrams(
        self, ip: str, port: int, handler: DatagramHandler, *, shared: bool = False
    ) -> Datagrams:
        """A UDP socket; port 0: any. Raises as `listen`."""

    async def connect(
        self, ip: str, port: int, *, source_ip: str = ""
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises OSError as the operating system would (ConnectionRefusedError, …). No timeout of its own."""
