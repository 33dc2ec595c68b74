"""Servers in pods that the API server can't connect to are reached through their nodes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from live_server import LiveServer
from own_server import OwnServer, own_server

from cluster.api.errors import ServiceUnavailable
from cluster.api.kinds import ENDPOINT_SLICES, PODS, SERVICES
from cluster.api.objects import Object
from cluster.server.webhooks.caller import CallFailed, HttpsCaller
from cluster.server.webhooks.reach import Reach


class Nodes:
    """A node whose pods' port 443 is a port of this machine."""

    def __init__(self, port: int) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.port = port

    async def open(self, pod: Object, *, kind: str, container: str, options: dict[str, Any]) -> Pipe:
        self.asked.append((pod["metadata"]["name"], kind, options))
        if not self.port:
            raise ServiceUnavailable("the node is gone")
        return Pipe(*await asyncio.open_connection("127.0.0.1", self.port))


class Pipe:
    error = ""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self) -> tuple[int, bytes, bool] | None:
        data = await self._reader.read(1000)
        return (0, data, not data)

    async def send(self, channel: int, data: bytes, *, eof: bool = False) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()


async def pod_behind_service(server: LiveServer) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await server.create(PODS, pod)
    ports = [{"name": "https", "port": 443}]
    await server.create(SERVICES, {"metadata": {"name": "own"}, "spec": {"ports": ports}})
    target = {"kind": "Pod", "name": "p", "namespace": "default"}
    await server.create(
        ENDPOINT_SLICES,
        {
            "metadata": {"name": "own", "labels": {"kubernetes.io/service-name": "own"}},
            "addressType": "IPv4", "ports": ports,
            "endpoints": [{"addresses": ["10.244.7.7"], "targetRef": target}],
        },
    )  # fmt: skip


@pytest.mark.parametrize("size", [10, 300_000])
async def test_a_pod_is_asked_through_its_node(server: LiveServer, tmp_path: Path, size: int) -> None:
    """TLS is between the API server and the pod: the certificate is checked for the Service's name."""
    await pod_behind_service(server)
    async with own_server(tmp_path) as own:
        own.answer("/x", lambda body: {"echo": body})
        nodes = Nodes(own.port)
        caller = HttpsCaller(Reach(server.plane.store, nodes))
        try:
            answer = await caller.post(client(own), {"text": "y" * size}, 30)
        finally:
            await caller.close()
    assert answer == {"echo": {"text": "y" * size}}
    assert nodes.asked == [("p", "proxy", {"port": 443})]


async def test_a_node_that_is_gone_fails_the_call(server: LiveServer, tmp_path: Path) -> None:
    await pod_behind_service(server)
    async with own_server(tmp_path) as own:
        caller = HttpsCaller(Reach(server.plane.store, Nodes(0)))
        try:
            with pytest.raises(CallFailed, match=r'Post "https://own\.default\.svc:443/x'):
                await caller.post(client(own), {}, 30)
        finally:
            await caller.close()


def client(own: OwnServer) -> Object:
    return own.by_service("/x")
