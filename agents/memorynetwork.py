"""Pod networking in memory, for simulations: the same streams, no sockets, deterministic.

Bytes reach the other end after a latency drawn from the seed, in order. Errors are those of the operating
system: nobody listens on an attached address → ConnectionRefusedError; an address nobody has, or a
partition in between → no answer at all, until the caller's own deadline.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from contextvars import Context
from ssl import SSLContext
from typing import Any, TypeVar, cast

from agents.network import AddressInUse, DatagramHandler, Datagrams, Listener, StreamHandler
from broker.chance import Chance
from broker.supervision import Tasks
from broker.virtualtime import own_context

_L = TypeVar("_L")

OPENING_S = 0.0001
"""A real socket does not listen at once either, and who opened it may be gone when it does."""

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
            if not self.peer.is_closing():
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
    def __init__(
        self, network: MemoryNetwork, address: tuple[str, int], handler: StreamHandler, shared: bool
    ) -> None:
        self._network = network
        self.address = address
        self.shared = shared
        self._handler = handler
        self._context = own_context()
        self._open: dict[int, _Transport] = {}

    def context(self) -> Context | None:
        """A connection is served by the machine that listens, not by the one that connects."""
        return self._context.copy() if self._context is not None else None

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
        self._network.forget(self)
        for transport in list(self._open.values()):
            transport.close()
            transport.arrive_reset()


class MemoryDatagrams:
    """A UDP socket: datagrams are lost where nobody listens."""

    def __init__(
        self, network: MemoryNetwork, address: tuple[str, int], handler: DatagramHandler, shared: bool
    ) -> None:
        self._network = network
        self.address = address
        self.shared = shared
        self._handler = handler
        self._context = own_context()

    def take(self, data: bytes, source: tuple[str, int]) -> None:
        """A datagram has arrived; the machine it is for looks at it when it runs."""
        if self._context is None:
            self._handler(data, source)
        else:
            asyncio.get_running_loop().call_soon(self._handler, data, source, context=self._context.copy())

    def send(self, data: bytes, address: tuple[str, int]) -> None:
        self._network.carry(data, self.address, address)

    async def close(self) -> None:
        self._network.forget_datagrams(self)


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
        self._listeners: dict[tuple[str, int], list[MemoryListener]] = {}
        self._sockets: dict[tuple[str, int], list[MemoryDatagrams]] = {}
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
            for listener in list(self._listeners[address]):
                await listener.close()
        for address in [address for address in self._sockets if address[0] == ip]:
            del self._sockets[address]

    async def listen(
        self,
        ip: str,
        port: int,
        handler: StreamHandler,
        *,
        shared: bool = False,
        tls: SSLContext | None = None,
    ) -> Listener:
        await asyncio.sleep(OPENING_S)
        there = self._listeners.get((ip, port), [])
        if there and not (shared and there[0].shared):
            raise AddressInUse(f"listen tcp {ip}:{port}: bind: address already in use")
        listener = MemoryListener(self, (ip, port), handler, shared)
        self._listeners.setdefault((ip, port), []).append(listener)
        return listener

    async def datagrams(
        self, ip: str, port: int, handler: DatagramHandler, *, shared: bool = False
    ) -> Datagrams:
        port = port or self._next_port()
        there = self._sockets.get((ip, port), [])
        if there and not (shared and there[0].shared):
            raise AddressInUse(f"listen udp {ip}:{port}: bind: address already in use")
        opened = MemoryDatagrams(self, (ip, port), handler, shared)
        self._sockets.setdefault((ip, port), []).append(opened)
        return opened

    def carry(self, data: bytes, source: tuple[str, int], target: tuple[str, int]) -> None:
        """Brings a datagram to whoever listens there when it arrives."""
        if self.passes(source[0], target[0]):
            asyncio.get_running_loop().call_later(self.latency(), self._arrive, data, source, target)

    def _arrive(self, data: bytes, source: tuple[str, int], target: tuple[str, int]) -> None:
        there = self._sockets.get(target)
        if there:
            self._in_turn(there).take(data, source)

    @staticmethod
    def _in_turn(there: list[_L]) -> _L:
        """Those who share an address take turns."""
        chosen = there.pop(0)
        there.append(chosen)
        return chosen

    def _next_port(self) -> int:
        self._ports = self._ports + 1 if self._ports < 60999 else 32768
        return self._ports

    def forget(self, listener: MemoryListener) -> None:
        there = self._listeners.get(listener.address, [])
        if listener in there:
            there.remove(listener)
            if not there:
                del self._listeners[listener.address]

    def forget_datagrams(self, opened: MemoryDatagrams) -> None:
        there = self._sockets.get(opened.address, [])
        if opened in there:
            there.remove(opened)
            if not there:
                del self._sockets[opened.address]

    async def connect(
        self, ip: str, port: int, *, source_ip: str = ""
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await asyncio.sleep(self.latency() * 2)
        there = self._listeners.get((ip, port))
        listener = self._in_turn(there) if there else None
        if not self.passes(source_ip, ip) or (listener is None and ip not in self._attached):
            await asyncio.get_running_loop().create_future()  # nobody answers: wait for the caller's deadline
        if listener is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connection refused")
        here, address = (source_ip, self._next_port()), (ip, port)
        near, far = _Transport(self, here, address), _Transport(self, address, here)
        near.peer, far.peer = far, near
        served = _streams(far)
        name = f"connection {here[0]}:{here[1]}-{ip}:{port}"
        self._tasks.start(name, listener.serve(*served), context=listener.context())
        return _streams(near)

    async def close(self) -> None:
        await self._tasks.close()


def _streams(transport: _Transport) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport.reader = reader
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
