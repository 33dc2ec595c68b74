"""The measurements: each starts real processes, drives them through the API, and gives figures."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from cluster.server.remote import RemoteClient

from broker.clock import SystemClock
from cluster.api import kinds
from cluster.api.objects import Object, condition_of
from scenarios.launch.cluster import ClusterSpec, LocalCluster
from scenarios.launch.place import TemporaryPlace
from scenarios.rollouts import progress

CLOCK = SystemClock()
POLL_S = 0.05
PATIENCE_S = 300.0


def deployment(name: str, replicas: int, *, image: str = "pause:3.10", surge: str = "25%") -> Object:
    """Like the reference's workload: no probes, small requests."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [
                        {
                            "name": "app",
                            "image": image,
                            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
                        }
                    ],
                },
            },
        },
    }


@asynccontextmanager
async def running_cluster(spec: ClusterSpec) -> AsyncIterator[tuple[LocalCluster, RemoteClient]]:
    """A cluster with all nodes Ready."""
    place = TemporaryPlace()
    cluster = LocalCluster(spec, place.path, progress=lambda _: None)
    try:
        await cluster.start()
        async with RemoteClient.from_kubeconfig(cluster.kubeconfig) as client:
            await until(lambda: _ready_nodes(client, spec.nodes), period_s=0.02)
            yield cluster, client
    finally:
        await cluster.stop()
        place.close()


async def _ready_nodes(client: RemoteClient, wanted: int) -> bool:
    nodes = (await client.list(kinds.NODES)).items
    conditions = [condition_of(node, "Ready") for node in nodes]
    return sum(c is not None and c["status"] == "True" for c in conditions) >= wanted


async def until(test: Callable[[], Awaitable[bool]], *, period_s: float = POLL_S) -> None:
    deadline = CLOCK.monotonic() + PATIENCE_S
    while not await test():
        if CLOCK.monotonic() > deadline:
            raise TimeoutError(f"not there after {PATIENCE_S:g} s")
        await asyncio.sleep(period_s)


async def start_up(nodes: int = 3) -> dict[str, float]:
    started = CLOCK.monotonic()
    async with running_cluster(ClusterSpec(name="bench-start", nodes=nodes)) as (cluster, _):
        return {
            f"start-up, {nodes} nodes Ready [s]": CLOCK.monotonic() - started,
            f"memory, {nodes} nodes [MB]": memory_mb(cluster),
        }


async def workloads(nodes: int = 100, replicas: int = 1000) -> dict[str, float]:
    """A Deployment to Available, rolled, deleted; pods per second of each."""
    spec = ClusterSpec(name="bench-load", nodes=nodes, per_process=nodes // 2)
    figures: dict[str, float] = {}
    async with running_cluster(spec) as (cluster, client):
        figures[f"memory, {nodes} nodes idle [MB]"] = memory_mb(cluster)

        async def rolled_out() -> bool:
            done, _ = progress(await client.get(kinds.DEPLOYMENTS, "load", namespace="default"))
            return done

        async def timed(label: str, test: Callable[[], Awaitable[bool]], start: Awaitable[Any]) -> None:
            began = CLOCK.monotonic()
            await start
            await until(test)
            figures[f"{label} [pods/s]"] = replicas / (CLOCK.monotonic() - began)

        await timed(
            f"{replicas} replicas to Available",
            rolled_out,
            client.create(kinds.DEPLOYMENTS, deployment("load", replicas), namespace="default"),
        )
        figures[f"memory, {nodes} nodes with {replicas} pods [MB]"] = memory_mb(cluster)
        figures |= await api_lists(cluster)
        new_image = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "pause:3.11"}]}}}}
        await timed(
            "rolling update", rolled_out,
            client.patch(kinds.DEPLOYMENTS, "load", _replace(new_image), namespace="default"),
        )  # fmt: skip

        async def none_left() -> bool:
            return not (await client.list(kinds.PODS, namespace="default", label_selector="app=load")).items

        await timed("deletion", none_left, client.delete(kinds.DEPLOYMENTS, "load", namespace="default"))
    return figures


def _replace(change: Object) -> Object:
    container = change["spec"]["template"]["spec"]["containers"][0]
    resources = {"requests": {"cpu": "10m", "memory": "16Mi"}}
    return {"spec": {"template": {"spec": {"containers": [{**container, "resources": resources}]}}}}


def memory_mb(cluster: LocalCluster) -> float:
    """Proportional set size of all processes, as the kernel accounts it."""
    return sum(_pss_kb(record.pid) for record in cluster.records()) / 1024


def _pss_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def raw_access(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    """Server URL and client TLS settings of a kubeconfig."""
    import base64
    import tempfile

    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(
        cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
    )
    with tempfile.NamedTemporaryFile(suffix=".pem") as pair:
        pair.write(
            base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
        )
        pair.flush()
        context.load_cert_chain(pair.name)
    return cluster["server"], context


async def _rate(
    session: aiohttp.ClientSession, method: str, urls: list[str], bodies: list[Any], lanes: int
) -> float:
    """Requests per second with `lanes` in flight."""
    from broker.supervision import Tasks

    queue = list(zip(urls, bodies, strict=True))[::-1]
    total = len(queue)

    async def lane() -> None:
        while queue:
            url, body = queue.pop()
            async with session.request(method, url, json=body) as answer:
                await answer.read()
                if answer.status >= 400:
                    raise RuntimeError(f"{method} {url}: {answer.status}")

    tasks = Tasks()
    began = CLOCK.monotonic()
    running = [tasks.start(f"lane-{number}", lane()) for number in range(lanes)]
    for task in running:
        await task
    return total / (CLOCK.monotonic() - began)


async def api_lists(cluster: LocalCluster) -> dict[str, float]:
    server, tls = raw_access(cluster.kubeconfig)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        url = f"{server}/api/v1/namespaces/default/pods"
        return {"LIST of 1000 pods [1/s]": await _rate(session, "GET", [url] * 200, [None] * 200, 2)}


async def api_rates() -> dict[str, float]:
    """Single requests on an idle cluster with the SQLite journal."""
    async with running_cluster(ClusterSpec(name="bench-api", nodes=1)) as (cluster, _):
        server, tls = raw_access(cluster.kubeconfig)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
            maps = f"{server}/api/v1/namespaces/default/configmaps"
            bodies = [
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{n}"}, "data": {"k": "v"}}
                for n in range(3000)
            ]
            create = await _rate(session, "POST", [maps] * len(bodies), bodies, 16)
            get = await _rate(session, "GET", [f"{maps}/c{n % 3000}" for n in range(5000)], [None] * 5000, 16)
    return {"create [1/s]": create, "GET [1/s]": get}
