"""The listeners of Services on this machine: what is wanted and what is open, brought together.

Who listens. On one machine all agents share the loopback addresses, so every agent process opens every
cluster IP, load balancer address and external IP with SO_REUSEPORT: the kernel spreads connections over
them, each passes them on to the endpoints it knows, and the death of an agent takes one listener away and
nothing else. The alternatives are worse: one process for all would be a part that no cluster has and whose
death no scenario means; the first to bind with the others waiting would leave a gap at each death. In
containers each agent has a loopback of its own and the same code serves it.

A node port is opened at each node's own address by that node, and at 127.0.0.1 by whoever gets it first
(not shared: the agents of two clusters must not answer for each other); the others try again now and then.

A port without endpoints has no listener, so that the kernel refuses connections as kube-proxy's reject
rule does.

Divergence: a frozen agent (SIGSTOP) still gets its share of the connections that come from outside pods.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterable

from structlog.typing import FilteringBoundLogger

from agents.network import AddressInUse, Datagrams, Listener, Network
from agents.services import pump
from agents.services.table import LOCALHOST, Address, Entry, Frontend
from agents.services.udp import UdpFrontend
from broker.supervision import Tasks

RETRY_S = 2.0
"""How soon an address that somebody else had is tried again."""
CONNECT_S = 10.0
"""An endpoint that does not answer by then is given up."""

Route = Callable[[Frontend, str], tuple[str, int] | None]
"""The endpoint for a connection of this client; None breaks it."""

Serves = Callable[[Frontend, tuple[str, int]], bool]
"""Whether this is still an endpoint."""


class Frontends:
    """`wanted` is set from outside, by owner; `settle` makes the machine agree."""

    def __init__(
        self, network: Network, route: Route, serves: Serves, tasks: Tasks, log: FilteringBoundLogger
    ) -> None:
        self._network = network
        self._route = route
        self._serves = serves
        self._tasks = tasks
        self._log = log
        self._wanted: dict[Address, Frontend] = {}
        self._by_service: dict[object, list[Address]] = {}
        self._open: dict[Address, Listener | Datagrams] = {}
        self._ips: dict[str, None] = {}
        """Attached ones."""
        self._failed: dict[Address, str] = {}
        self._settling = False
        self._again = False
        self._closed = False
        self._retry: asyncio.TimerHandle | None = None

    def find(self, address: Address) -> Frontend | None:
        return self._wanted.get(address)

    def want(self, owner: object, frontends: Iterable[Frontend]) -> None:
        """These are all frontends of this owner from now on; the first owner of an address keeps it."""
        before = self._by_service.pop(owner, [])
        old = {address: self._wanted.pop(address) for address in before}
        now = []
        for frontend in frontends:
            if frontend.address not in self._wanted:
                self._wanted[frontend.address] = frontend
                now.append(frontend.address)
        if now:
            self._by_service[owner] = now
        if [old.get(address) for address in now] != [self._wanted[address] for address in now] or len(
            now
        ) != len(before):
            self._soon()

    def _soon(self) -> None:
        self._again = True
        if not self._settling and not self._closed:
            self._settling = True
            self._tasks.start("service listeners", self._settle())

    async def _settle(self) -> None:
        try:
            while self._again:
                self._again = False
                await self._settle_once()
        finally:
            self._settling = False
        waits = any(address in self._wanted for address in self._failed)
        if waits and self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._retry_now)

    async def _settle_once(self) -> None:
        for address in list(self._open):
            frontend = self._wanted.get(address)
            if frontend is None or frontend.refuses:
                await self._open.pop(address).close()
        ips = {f.address.ip: None for f in self._wanted.values() if f.entry is not Entry.NODE_PORT}
        for ip in [ip for ip in self._ips if ip not in ips]:
            del self._ips[ip]
            await self._network.detach(ip)
        for ip in [ip for ip in ips if ip not in self._ips]:
            self._ips[ip] = None
            await self._network.attach(ip)
        for address, frontend in list(self._wanted.items()):
            if not frontend.refuses and address not in self._open:
                await self._try(frontend)

    def _retry_now(self) -> None:
        self._retry = None
        self._soon()

    async def _try(self, frontend: Frontend) -> None:
        address = frontend.address
        shared = not (frontend.entry is Entry.NODE_PORT and address.ip == LOCALHOST)
        try:
            if address.protocol == "UDP":
                udp = UdpFrontend(
                    self._network,
                    lambda client: self._target(address, client),
                    lambda target: self._still(address, target),
                )
                self._open[address] = await udp.open(address, shared)
            else:
                self._open[address] = await self._network.listen(
                    address.ip, address.port, lambda r, w: self._serve(address, r, w), shared=shared
                )
        except (AddressInUse, OSError) as error:
            self._complain(frontend, str(error))
            return
        self._failed.pop(address, None)

    def _complain(self, frontend: Frontend, why: str) -> None:
        address = frontend.address
        if self._failed.get(address) != why:
            self._failed[address] = why
            if address.ip != LOCALHOST:
                where = f"{address.ip}:{address.port}/{address.protocol}"
                self._log.warning("no listener", service=str(frontend.service), address=where, why=why)

    async def close(self) -> None:
        """Afterwards nothing listens, whatever is still wanted."""
        self._closed = True
        await self._tasks.close()
        if self._retry is not None:
            self._retry.cancel()
        self._wanted.clear()
        self._by_service.clear()
        for address in list(self._open):
            await self._open.pop(address).close()
        for ip in list(self._ips):
            await self._network.detach(ip)
        self._ips.clear()

    # --- connections

    def _target(self, address: Address, client: str) -> tuple[str, int] | None:
        frontend = self._wanted.get(address)
        return self._route(frontend, client) if frontend is not None else None

    def _still(self, address: Address, target: tuple[str, int]) -> bool:
        frontend = self._wanted.get(address)
        return frontend is not None and self._serves(frontend, target)

    async def _serve(
        self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        peer = writer.get_extra_info("peername")
        client = str(peer[0]) if peer else ""
        if client == address.ip:
            client = ""  # from this node: the kernel chose the Service's address, where no answer returns
        target = self._target(address, client)
        if target is None:
            writer.transport.abort()
            return
        try:
            async with asyncio.timeout(CONNECT_S):
                far = await self._connect(target, client)
        except OSError:
            writer.transport.abort()
            return
        await pump.join((reader, writer), far)

    async def _connect(self, target: tuple[str, int], client: str) -> pump.Stream:
        """The endpoint sees its client's address, unless that is another machine's."""
        try:
            return await self._network.connect(*target, source_ip=client)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
        return await self._network.connect(*target)
