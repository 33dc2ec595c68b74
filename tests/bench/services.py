"""Services at scale: a rollout behind one, and how fast a changed endpoint is known everywhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from broker.supervision import Tasks
from cluster.api import kinds
from cluster.api.client import PatchType
from cluster.api.objects import Object
from cluster.server.remote import RemoteClient
from scenarios.launch.cluster import ClusterSpec
from scenarios.rollouts import progress
from tests.bench.running import CLOCK, running_cluster, until
from tests.bench.workloads import deployment

NAME = "load"
NAMESPACE = "default"
LANES = 32
SETTLED_S = 1.0
"""On a starved machine a node may be taken for silent before its first heartbeat, and registers again then."""


async def with_service(nodes: int = 100, replicas: int = 1000) -> dict[str, float]:
    """1000 replicas that serve HTTP, probed, behind a Service: to Available, then rolled. With the timings in
    which 2 s of silence make a node NotReady, none may be late."""
    spec = ClusterSpec(name="bench-service", nodes=nodes, per_process=nodes // 2, profile="fast")
    label = f"{replicas} replicas with Service and probes"
    figures: dict[str, float] = {}
    async with running_cluster(spec) as (cluster, client):

        async def rolled_out() -> bool:
            done, _ = progress(await client.get(kinds.DEPLOYMENTS, NAME, namespace=NAMESPACE))
            return done

        async def timed(what: str, start: Awaitable[Any]) -> None:
            began = CLOCK.monotonic()
            await start
            await until(rolled_out, period_s=0.2)
            figures[f"{label}, {what} [pods/s]"] = replicas / (CLOCK.monotonic() - began)

        await client.create(kinds.SERVICES, service(NAME, {"app": NAME}), namespace=NAMESPACE)
        await asyncio.sleep(SETTLED_S)
        known = registrations(cluster.directory)
        body = _probed(replicas)
        await timed("to Available", client.create(kinds.DEPLOYMENTS, body, namespace=NAMESPACE))
        again = {"spec": {"template": {"metadata": {"annotations": {"again": "1"}}}}}
        await timed(
            "rolled",
            client.patch(kinds.DEPLOYMENTS, NAME, again, namespace=NAMESPACE, kind=PatchType.MERGE),
        )
        figures["nodes that were late meanwhile"] = await late_nodes(client)
        figures["nodes that registered again meanwhile"] = registrations(cluster.directory) - known
        began = CLOCK.monotonic()
        await cluster.stop()
        figures["stop of all processes [s]"] = CLOCK.monotonic() - began
    return figures


async def late_nodes(client: RemoteClient) -> int:
    """How often a node was NotReady."""
    events = (await client.list(kinds.EVENTS)).items
    return sum(event.get("count") or 1 for event in events if event["reason"] == "NodeNotReady")


def registrations(directory: Path) -> int:
    return sum(line["event"] == "node registered" for line in _lines(directory))


def _probed(replicas: int) -> Object:
    body = deployment(NAME, replicas)
    spec = body["spec"]["template"]["spec"]
    probe = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 5}
    container = {"image": "nginx:1.27", "ports": [{"containerPort": 80}], "readinessProbe": probe}
    spec["containers"] = [{**spec["containers"][0], **container}]
    return body


async def endpoint_news(services: int = 1000, endpoints: int = 10, nodes: int = 100) -> dict[str, float]:
    """From the request that changes an EndpointSlice to the last agent process that knows it."""
    spec = ClusterSpec(name="bench-news", nodes=nodes, per_process=nodes // 2, log_level="debug")
    label = f"{services} Services × {endpoints} endpoints"
    async with running_cluster(spec) as (cluster, client):
        began = CLOCK.now().timestamp()
        await _in_lanes([_create(client, f"s{n}", endpoints) for n in range(services)])
        known = await _known(cluster.directory, f"s{services - 1}", 1, began)
        figures = {f"{label}, created to known [s]": known}
        delays = []
        for change in range(5):
            slice_ = _slice(f"s{change}", endpoints, first=100)
            began = CLOCK.now().timestamp()
            await client.update(kinds.ENDPOINT_SLICES, slice_)
            delays.append(await _known(cluster.directory, f"s{change}", 2, began))
        figures[f"{label}, a change to known [ms]"] = 1000 * sorted(delays)[len(delays) // 2]
    return figures


async def _create(client: RemoteClient, name: str, endpoints: int) -> None:
    await client.create(kinds.SERVICES, service(name, None), namespace=NAMESPACE)
    await client.create(kinds.ENDPOINT_SLICES, _slice(name, endpoints), namespace=NAMESPACE)


async def _in_lanes(work: list[Any]) -> None:
    """In order, `LANES` at a time."""
    queue, tasks = work[::-1], Tasks()

    async def lane() -> None:
        while queue:
            await queue.pop()

    for running in [tasks.start(f"lane-{number}", lane()) for number in range(LANES)]:
        await running


async def _known(directory: Path, name: str, times: int, since: float) -> float:
    """Seconds until each of the two agent processes had heard `times` times of this EndpointSlice."""
    moments: dict[str, list[float]] = {}

    async def heard() -> bool:
        moments.clear()
        for line in _lines(directory):
            if line["event"] == "shared state" and ["EndpointSlice", NAMESPACE, name] in line["names"]:
                moments.setdefault(line["file"], []).append(datetime.fromisoformat(line["time"]).timestamp())
        return len(moments) == 2 and all(len(found) >= times for found in moments.values())

    await until(heard, period_s=0.3)
    return max(found[times - 1] for found in moments.values()) - since


def _lines(directory: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(directory.rglob("*.log")):
        for text in file.read_text(errors="replace").splitlines():
            if text.startswith("{"):
                try:
                    yield {**json.loads(text), "file": file.name}
                except ValueError:
                    continue  # the last line is still being written


def service(name: str, selector: dict[str, str] | None, port: int = 80) -> Object:
    spec: Object = {"ports": [{"port": port}]}
    if selector is not None:
        spec["selector"] = selector
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def _slice(name: str, endpoints: int, first: int = 1) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "bench"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": [f"127.200.0.{first + n}"], "conditions": {"ready": True}} for n in range(endpoints)
        ],
    }


if __name__ == "__main__":
    for figures in (asyncio.run(with_service()), asyncio.run(endpoint_news())):
        print("\n".join(f"{label:<70} {value:>9.2f}" for label, value in figures.items()))
