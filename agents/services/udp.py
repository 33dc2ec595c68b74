"""UDP of Services: a socket towards the endpoint for each client, as long as either side says something."""

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
Client = tuple[str, int]


class UdpFrontend:
    """One address of a Service."""

    def __init__(self, network: Network, target: Target) -> None:
        self._network = network
        self._target = target
        self._tasks = Tasks()
        self._socket: Datagrams | None = None
        self._clients: dict[Client, _Flow] = {}

    async def open(self, address: Address, shared: bool) -> UdpFrontend:
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
        if flow is None:
            target = self._target(client[0])
            if target is None:
                return
            if len(self._clients) >= MAX_CLIENTS:
                self._forget(next(iter(self._clients)))
            flow = self._clients[client] = _Flow(target)
            self._tasks.start(f"udp {client[0]}:{client[1]}", self._connect(client, flow))
        flow.send(data)
        flow.renew(lambda: self._forget(client))

    async def _connect(self, client: Client, flow: _Flow) -> None:
        def back(data: bytes, sender: tuple[str, int]) -> None:
            self.send(data, client)
            flow.renew(lambda: self._forget(client))

        try:
            flow.opened(await self._network.datagrams(client[0], 0, back))
        except OSError:
            flow.opened(await self._network.datagrams(ANY, 0, back))  # the client is on another machine

    def _forget(self, client: Client) -> None:
        flow = self._clients.pop(client, None)
        if flow is not None:
            self._tasks.start(f"udp end {client[0]}:{client[1]}", flow.close())


class _Flow:
    """One client's way to its endpoint."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._waiting: list[bytes] = []
        self._socket: Datagrams | None = None
        self._timer: asyncio.TimerHandle | None = None

    def opened(self, socket: Datagrams) -> None:
        self._socket = socket
        for data in self._waiting:
            socket.send(data, self._target)
        self._waiting.clear()

    def send(self, data: bytes) -> None:
        if self._socket is not None:
            self._socket.send(data, self._target)
        else:
            self._waiting.append(data)

    def renew(self, forget: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(IDLE_S, forget)

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            await self._socket.close()
