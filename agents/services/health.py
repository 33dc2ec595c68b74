"""The health checks of load balancers: on each node an HTTP server at a Service's healthCheckNodePort.

It says how many of the Service's ready pods the node has: 200 with some, 503 with none, so that a load
balancer in front of the cluster leaves out nodes that would drop its connections (externalTrafficPolicy
Local).
"""

from __future__ import annotations

import asyncio
import json

from structlog.typing import FilteringBoundLogger

from agents import http
from agents.network import AddressInUse, Listener, Network
from agents.services.table import ServiceTable
from agents.services.whereabouts import Whereabouts
from broker.supervision import Tasks
from cluster.api.objects import Key, Object

Place = tuple[str, int]


class HealthChecks:
    def __init__(
        self,
        network: Network,
        table: ServiceTable,
        where: Whereabouts,
        tasks: Tasks,
        log: FilteringBoundLogger,
    ) -> None:
        self._network = network
        self._table = table
        self._where = where
        self._tasks = tasks
        self._log = log
        self._ports: dict[Key, int] = {}
        self._open: dict[Place, Listener] = {}
        self._moving = asyncio.Lock()

    def want(self, key: Key) -> None:
        """The Service, or what nodes there are, has changed."""
        port = _port(self._table.service(key))
        if port == self._ports.get(key, 0) and not port:
            return
        self._ports.pop(key, None)
        if port:
            self._ports[key] = port
        if self._wanted().keys() != self._open.keys():
            self._tasks.start("health checks", self._settle())

    def _wanted(self) -> dict[Place, Key]:
        return {(ip, port): key for key, port in self._ports.items() for ip in self._where.node_ips}

    async def _settle(self) -> None:
        async with self._moving:
            wanted = self._wanted()
            for place in [place for place in self._open if place not in wanted]:
                await self._open.pop(place).close()
            for place in [place for place in wanted if place not in self._open]:
                await self._listen(place)

    async def _listen(self, place: Place) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await http.serve(reader, writer, lambda request: self._answer(place))

        try:
            self._open[place] = await self._network.listen(*place, serve)
        except (AddressInUse, OSError) as error:
            self._log.warning("no health check", address=f"{place[0]}:{place[1]}", why=str(error))

    async def _answer(self, place: Place) -> http.Response | None:
        key = self._wanted().get(place)
        if key is None:
            return None
        count = self._table.local_endpoints(key, place[0])
        body = {
            "service": {"namespace": key.namespace, "name": key.name},
            "localEndpoints": count,
            "serviceProxyHealthy": True,
        }
        headers = [
            ("Content-Type", "application/json"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Load-Balancing-Endpoint-Weight", str(count)),
        ]
        text = json.dumps(body, indent="\t")
        return http.Response(status=200 if count else 503, headers=headers, body=text.encode())

    async def close(self) -> None:
        self._ports.clear()
        for place in list(self._open):
            await self._open.pop(place).close()


def _port(service: Object | None) -> int:
    spec = service["spec"] if service is not None else {}
    local = spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
    return int(spec.get("healthCheckNodePort") or 0) if local else 0
