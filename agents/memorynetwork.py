"""Pod networking in memory, for simulations: the same streams, no sockets, deterministic.

Bytes reach the other end after a latency drawn from the seed, in order. Errors are those of the operating
system: nobody listens on an attached address → ConnectionRefusedError; an address nobody has, or a
partition in between → no answer at all, until the caller's own deadline.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Any, cast

from agents.network import AddressInUse, Listener, StreamHandler
from broker.chance import Chance
from broker.supervision import Tasks

Passes = Callable[[str, str], bool]
"""Whether packets from one address get to another."""


class _Transport(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, network: MemoryNetwork, local: tuple[str, int], remote: tuple[str, int]) -> None:
        super().__init__({"sockname": local, "peername": remote})
        self._network = network
        self._ends = (local[0], remote[0])
        self.reader: asyncio.StreamReader | None = None
        self.peer: _Transport | None = None
        self._closing = False
        self._last_arrival = 0.0

    def _deliver(self, action: Callable[..., None], *arguments: Any) -> None:
        loop = asyncio.get_running_loop()
        at = max(loop.time() + self._network.latency(), self._last_arrival)
        self._last_arrival = at
        loop.call_at(at, action, *arguments)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing and data and self._network.passes(*self._ends):
            assert self.peer is not None
            self._deliver(self.peer.arrive, bytes(data))

    def arrive(self, data: bytes) -> None:
        assert self.reader is not None
        if not self._closing:
            self.reader.feed_data(data)

    def arrive_end(self) -> None:
        assert self.reader is not None
        if not self.reader.at_eof():
            self.reader.feed_eof()

    def arrive_reset(self) -> None:
        assert self.reader is not None
        self._closing = True
        self.reader.set_exception(ConnectionResetError(errno.ECONNRESET, "connection reset by peer"))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._closing and self._network.passes(*self._ends):
            assert self.peer is not None
            self._deliver(self.peer.arrive_end)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self.write_eof()
        self._closing = True

    def abort(self) -> None:
        if not self._closing and self.peer is not None and self._network.passes(*self._ends):
            self._deliver(self.peer.arrive_reset)
        self._closing = True

    def pause_reading(self) -> None:
        """The reader's limit is not enforced: a simulated peer never sends without end."""

    def resume_reading(self) -> None: ...


class MemoryListener:
    def __init__(self, network: MemoryNetwork, address: tuple[str, int], handler: StreamHandler) -> None:
        self._network = network
        self._address = address
        self._handler = handler
        self._open: dict[int, _Transport] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        transport = cast(_Transport, writer.transport)
        self._open[id(transport)] = transport
        try:
            await self._handler(reader, writer)
        except OSError:
            return
        finally:
            self._open.pop(id(transport), None)
            transport.close()

    async def close(self) -> None:
        self._network.forget(self._address)
        for transport in list(self._open.values()):
            transport.close()
            transport.arrive_reset()


class MemoryNetwork:
    """`agents.network.Network` in memory. One instance is the whole cluster's network."""

    def __init__(
        self,
        chance: Chance,
        *,
        latency_s: tuple[float, float] = (0.0002, 0.001),
        passes: Passes = lambda source, target: True,
    ) -> None:
        self._chance = chance
        self._latency_s = latency_s
        self.passes = passes
        self._attached: dict[str, int] = {}
        self._listeners: dict[tuple[str, int], MemoryListener] = {}
        self._tasks = Tasks()
        self._ports = 32768

    def latency(self) -> float:
        return self._chance.uniform(*self._latency_s)

    async def attach(self, ip: str) -> None:
        self._attached[ip] = self._attached.get(ip, 0) + 1

    async def detach(self, ip: str) -> None:
        left = self._attached.get(ip, 0) - 1
        if left > 0:
            self._attached[ip] = left
            return
        self._attached.pop(ip, None)
        for address in [address for address in self._listeners if address[0] == ip]:
            await self._listeners[address].close()

    async def listen(self, ip: str, port: int, handler: StreamHandler) -> Listener:
        if (ip, port) in self._listeners:
            raise AddressInUse(f"listen tcp {ip}:{port}: bind: address already in use")
        listener = self._listeners[ip, port] = MemoryListener(self, (ip, port), handler)
        return listener

    def forget(self, address: tuple[str, int]) -> None:
        self._listeners.pop(address, None)

    async def connect(
        self, ip: str, port: int, *, source_ip: str = ""
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await asyncio.sleep(self.latency() * 2)
        listener = self._listeners.get((ip, port))
        if not self.passes(source_ip, ip) or (listener is None and ip not in self._attached):
            await asyncio.get_running_loop().create_future()  # nobody answers: wait for the caller's deadline
        if listener is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connection refused")
        self._ports = self._ports + 1 if self._ports < 60999 else 32768
        here, there = (source_ip, self._ports), (ip, port)
        near, far = _Transport(self, here, there), _Transport(self, there, here)
        near.peer, far.peer = far, near
        served = _streams(far)
        self._tasks.start(f"connection {here[0]}:{here[1]}-{ip}:{port}", listener.serve(*served))
        return _streams(near)

    async def close(self) -> None:
        await self._tasks.close()


def _streams(transport: _Transport) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport.reader = reader
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
