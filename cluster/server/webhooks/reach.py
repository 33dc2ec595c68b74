"""How the API server reaches the servers behind a Service: directly if it can, else through the pod's node.

On one machine a pod's address can be connected to. In containers it is routed between the nodes only, and
ports below 1024 may be bound elsewhere (see the README): there a listener on the loopback address takes
connections and carries their bytes over streams to the pod, as port-forward does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from broker.supervision import Tasks
from cluster.api.errors import ApiError
from cluster.api.objects import Key, Object
from cluster.server.streams import NodeStreams, Stream
from cluster.store.store import Store

_SLICES = "endpointslices.discovery.k8s.io"
_PRIVILEGED_BELOW = 1024
_PIECE_BYTES = 32 * 1024
_DATA = 0


class Unreachable(Exception):
    """There is nothing to connect to; the text says why."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    host: str
    port: int
    pod: Key | None = None
    """Which pod it is, if it is one."""

    @property
    def is_near(self) -> bool:
        return self.pod is None or (self.host.startswith("127.") and self.port >= _PRIVILEGED_BELOW)


class Reach:
    def __init__(self, store: Store, nodes: NodeStreams | None) -> None:
        self._store = store
        self._nodes = nodes

    def endpoint(self, namespace: str, name: str, port: int) -> Endpoint:
        """A ready one of the Service. Raises Unreachable."""
        entry = self._store.get("services", Key(namespace, name))
        if entry is None:
            raise Unreachable(f'service "{name}" not found')
        spec = entry.object["spec"]
        if spec.get("type") == "ExternalName":
            return Endpoint(spec["externalName"], port)
        wanted = next((each for each in spec.get("ports") or () if each["port"] == port), None)
        if wanted is None:
            raise Unreachable(f'service "{name}" does not have a port {port}')
        for found in self._store.list(_SLICES, namespace):
            obj = found.object
            if (obj["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == name:
                endpoint = _ready(obj, namespace, wanted.get("name", ""))
                if endpoint is not None:
                    return endpoint
        raise Unreachable(f'no endpoints available for service "{name}"')

    @asynccontextmanager
    async def address(self, endpoint: Endpoint) -> AsyncIterator[str]:
        """Host and port to connect to, as long as the context lasts. Raises Unreachable."""
        if endpoint.is_near or endpoint.pod is None or self._nodes is None:
            yield f"{endpoint.host}:{endpoint.port}"
            return
        entry = self._store.get("pods", endpoint.pod)
        if entry is None:
            raise Unreachable(f'pod "{endpoint.pod.name}" not found')
        bridge = _Bridge(self._nodes, entry.object, endpoint.port)
        try:
            yield await bridge.open()
        finally:
            await bridge.close()


def _ready(obj: Object, namespace: str, port_name: str) -> Endpoint | None:
    numbers = [port["port"] for port in obj.get("ports") or () if port.get("name", "") == port_name]
    for endpoint in obj.get("endpoints") or ():
        if numbers and (endpoint.get("conditions") or {}).get("ready", True):
            target = endpoint.get("targetRef") or {}
            pod = Key(namespace, target["name"]) if target.get("kind") == "Pod" else None
            return Endpoint(endpoint["addresses"][0], numbers[0], pod)
    return None


class _Bridge:
    """From a local port to a port of a pod."""

    def __init__(self, nodes: NodeStreams, pod: Object, port: int) -> None:
        self._nodes = nodes
        self._pod = pod
        self._port = port
        self._tasks = Tasks()
        self._server: asyncio.Server | None = None

    async def open(self) -> str:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._tasks.close()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.start("bridge", self._carry(reader, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            stream = await self._nodes.open(
                self._pod, kind="proxy", container="", options={"port": self._port}
            )
        except ApiError:
            writer.close()
            return
        upwards = self._tasks.start("bridge-up", _up(reader, stream))
        try:
            await _down(stream, writer)
        finally:
            upwards.cancel()
            await stream.close()
            writer.close()


async def _up(reader: asyncio.StreamReader, stream: Stream) -> None:
    try:
        while data := await reader.read(_PIECE_BYTES):
            await stream.send(_DATA, data)
        await stream.send(_DATA, b"", eof=True)
    except ConnectionError:
        return


async def _down(stream: Stream, writer: asyncio.StreamWriter) -> None:
    try:
        while (received := await stream.receive()) is not None:
            _, data, ended = received
            if data:
                writer.write(data)
                await writer.drain()
            if ended:
                return
    except ConnectionError:
        return
