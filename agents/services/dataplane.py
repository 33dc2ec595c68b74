"""What an agent process does for the cluster's network besides its pods: Services, DNS, ingress, policy.

One per process (in a simulation per node, since a simulated machine dies alone). Nodes of the process join
when they know their addresses; what the control plane tells all alike comes from the process'
`agents.clusterview`.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterable, Sequence
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from agents.network import Network
from agents.routed import RoutedNetwork
from agents.services.dns import SERVICE as DNS_SERVICE
from agents.services.dns import DnsServer
from agents.services.frontends import Frontends
from agents.services.health import HealthChecks
from agents.services.ingress import IngressProxy
from agents.services.names import Names
from agents.services.podnetwork import Dropped, PodNetwork
from agents.services.policy import Policies
from agents.services.table import Address, Entry, Frontend, ServiceTable
from agents.services.whereabouts import Whereabouts
from broker.supervision import Tasks
from cluster.api.objects import Key, Object

Name = tuple[str, str, str]


class Known(Protocol):
    """The objects that all nodes are told of."""

    def lookup(self, kind: str, namespace: str, name: str) -> Object | None: ...

    def of_kind(self, kind: str) -> Sequence[Object]: ...


class Dataplane:
    def __init__(
        self, network: Network, *, log: FilteringBoundLogger, routes: RoutedNetwork | None = None
    ) -> None:
        """`routes`: sets the ways to other nodes' pods; None where all are in one network anyway."""
        self._routes = routes
        self._ways: dict[str, tuple[str, str]] = {}
        self._where = Whereabouts(apart=routes is not None)
        self.plain = network
        self.network = PodNetwork(network, self)
        """For the pods of this process, their probes and their hooks."""
        self._tasks = Tasks()
        self._closed = False
        self.table = ServiceTable(self._where, lambda: asyncio.get_running_loop().time())
        self.policies = Policies()
        self.names = Names(self.table)
        """Who wants to look up a name without asking over the network."""
        self._dns = DnsServer(network, self.names, self.permits, self._tasks, log)
        self._ingress = IngressProxy(network, self.table, self._tasks, log)
        self._frontends = Frontends(network, self._route, self.table.serves, self._tasks, log)
        self._health = HealthChecks(network, self.table, self._where, self._tasks, log)

    # --- what is known

    def join(self, node: str, ip: str, pod_cidr: str) -> None:
        """A node of this process has its addresses. Said again after each interruption, which may have
        taken the kernel's routes away."""
        if self._routes is not None:
            self._routes.own(pod_cidr)
        for name in self._ways:
            self._set_route(name)
        if not self._where.join(node, ip, pod_cidr):
            return
        self.policies.exempt[ip] = None
        for key in self.table.services():
            self._refresh(key)

    def take(self, known: Known, names: Iterable[Name]) -> None:
        """These objects came, changed or went."""
        if self._closed:
            return
        services: dict[Key, None] = {}
        ingress = False
        for kind, namespace, name in names:
            obj, key = known.lookup(kind, namespace, name), Key(namespace, name)
            match kind:
                case "Service":
                    if obj is None:
                        self.table.drop_service(key)
                    else:
                        self.table.set_service(obj)
                    services[key] = None
                case "EndpointSlice":
                    owner = (
                        self.table.drop_slice(namespace, name) if obj is None else self.table.set_slice(obj)
                    )
                    if owner is not None:
                        services[owner] = None
                case "Ingress" | "IngressClass" | "Secret":
                    ingress = True
                case "NodeRoute":
                    self._learn_route(name, obj)
                case "NodeZone":
                    self._where.set_zone(name, obj["zone"] if obj is not None else "")
                case "TrafficRules" | "PodSet":
                    self.policies.take(kind, key, obj)
        for key in services:
            self._refresh(key)
        if ingress:
            self._ingress.take(known)

    def _learn_route(self, name: str, obj: Object | None) -> None:
        """The way to another node's pods, by `cluster.server.gateway.derived`."""
        before = self._ways.pop(name, None)
        if obj is not None:
            self._ways[name] = (obj["podCIDR"], obj["address"])
        self._where.learn(name, obj["podCIDR"] if obj is not None else "")
        if before is not None and self._ways.get(name, ("", ""))[0] != before[0] and self._routes is not None:
            self._routes.route(before[0], "")
        if obj is not None:
            self._set_route(name)

    def _set_route(self, name: str) -> None:
        pod_cidr, address = self._ways[name]
        self.policies.exempt[address] = None
        if self._routes is not None and not self._where.is_here(name):
            self._routes.route(pod_cidr, address)

    def _refresh(self, key: Key) -> None:
        if key == DNS_SERVICE and self._is_dns(self.table.service(key)):
            return
        self._frontends.want(key, self.table.frontends(key))
        self._health.want(key)

    def _is_dns(self, service: Object | None) -> bool:
        """Serves DNS where the kube-dns Service stands for the agents' own server."""
        ours = service is not None and not service["spec"].get("selector")
        self._dns.serve_at(service["spec"].get("clusterIP", "") if service is not None and ours else "")
        return ours

    # --- connections

    def resolve(self, source: str, ip: str, port: int) -> tuple[str, int]:
        frontend = self._frontends.find(Address("TCP", ip, port))
        if frontend is None or frontend.entry is Entry.NODE_PORT:
            return ip, port
        backend = self.table.pick(frontend, source)
        if backend is None:
            if self.table.drops(frontend):
                raise Dropped
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        return backend.ip, backend.port

    def permits(self, source: str, target: str, protocol: str, port: int) -> bool:
        return self.policies.permits(source, target, protocol, port)

    def _route(self, frontend: Frontend, client: str) -> tuple[str, int] | None:
        backend = self.table.pick(frontend, client)
        if backend is None or not self.permits(client, backend.ip, frontend.address.protocol, backend.port):
            return None
        return backend.ip, backend.port

    async def close(self) -> None:
        self._closed = True
        await self._frontends.close()
        await self._tasks.close()
        await self._dns.close()
        await self._health.close()
        await self._ingress.close()

    async def failed(self) -> None:
        """Raises what a bug in the background work raised."""
        await self._tasks.failed()
