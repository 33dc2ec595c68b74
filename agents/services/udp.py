"""UDP of Services: a socket towards the endpoint for each client, as long as either side says something.

A client whose endpoint is gone gets another one with its next datagram, as kube-proxy makes the kernel forget
such flows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agents.network import Datagrams, Network
from agents.services.table import Address
from broker.supervision import Tasks

IDLE_S = 60.0
"""A client that is silent this long gets an endpoint anew, as with conntrack's time-out."""
ANY = "0.0.0.0"
MAX_CLIENTS = 4096
"""Per address; the longest-known one is forgotten for a new one."""

Target = Callable[[str], tuple[str, int] | None]
Still = Callable[[tuple[str, int]], bool]
Client = tuple[str, int]


class UdpFrontend:
    """One address of a Service."""

    def __init__(self, network: Network, target: Target, still: Still) -> None:
        self._network = network
        self._target = target
        self._still = still
        self._ip = ""
        self._tasks = Tasks()
        self._socket: Datagrams | None = None
        self._clients: dict[Client, _Flow] = {}

    async def open(self, address: Address, shared: bool) -> UdpFrontend:
        self._ip = address.ip
        self._socket = await self._network.datagrams(address.ip, address.port, self._take, shared=shared)
        return self

    def send(self, data: bytes, address: tuple[str, int]) -> None:
        if self._socket is not None:
            self._socket.send(data, address)

    async def close(self) -> None:
        await self._tasks.close()
        if self._socket is not None:
            await self._socket.close()
        for client in list(self._clients):
            await self._clients.pop(client).close()

    def _take(self, data: bytes, client: Client) -> None:
        flow = self._clients.get(client)
        if flow is not None and not self._still(flow.target):
            self._forget(client, flow)
            flow = None
        if flow is None:
            target = self._target(client[0])
            if target is None:
                return
            if len(self._clients) >= MAX_CLIENTS:
                self._forget(*next(iter(self._clients.items())))
            flow = self._clients[client] = _Flow(target, lambda ended: self._forget(client, ended))
            self._tasks.start(f"udp {client[0]}:{client[1]}", self._connect(client, flow))
        flow.send(data)
        flow.renew()

    async def _connect(self, client: Client, flow: _Flow) -> None:
        def back(data: bytes, sender: tuple[str, int]) -> None:
            self.send(data, client)
            flow.renew()

        # A client on this node: the kernel chose the Service's own address, where no answer returns.
        source = ANY if client[0] == self._ip else client[0]
        try:
            socket = await self._network.datagrams(source, 0, back)
        except OSError:
            socket = await self._network.datagrams(ANY, 0, back)  # the client is on another machine
        if flow.closed:
            await socket.close()
        else:
            flow.opened(socket)

    def _forget(self, client: Client, flow: _Flow) -> None:
        if self._clients.get(client) is flow:
            del self._clients[client]
        self._tasks.start(f"udp end {client[0]}:{client[1]}", flow.close())


class _Flow:
    """One client's way to its endpoint."""

    def __init__(self, target: tuple[str, int], ended: Callable[[_Flow], None]) -> None:
        self.target = target
        self.closed = False
        self._ended = ended
        self._waiting: list[bytes] = []
        self._socket: Datagrams | None = None
        self._timer: asyncio.TimerHandle | None = None

    def opened(self, socket: Datagrams) -> None:
        self._socket = socket
        for data in self._waiting:
            socket.send(data, self.target)
        self._waiting.clear()

    def send(self, data: bytes) -> None:
        if self._socket is not None:
            self._socket.send(data, self.target)
        else:
            self._waiting.append(data)

    def renew(self) -> None:
        if self.closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(IDLE_S, self._ended, self)

    async def close(self) -> None:
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            await self._socket.close()
