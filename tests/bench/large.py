"""A thousand nodes: ten thousand pods pinned to them, the same ten thousand through the scheduler, and a
Deployment of five thousand. One cluster after the other carries all of it.

Pods are created from outside through the API, as KWOK's own measurement does; the time runs from the first
request until every pod is Running.
"""

from __future__ import annotations

import json

from cluster.api import kinds
from cluster.server.remote import RemoteClient
from scenarios.launch.cluster import ClusterSpec, LocalCluster
from tests.bench.client import Request, rate
from tests.bench.rates import LANES, PODS
from tests.bench.running import CLOCK, cpu_s, memory_mb, running_cluster, until
from tests.bench.workloads import CONTAINER, deployment

POLL_S = 1.0
NAMESPACE = "default"


async def thousand_nodes(
    nodes: int = 1000, pods: int = 10_000, replicas: int = 5000, processes: int = 4
) -> dict[str, float]:
    spec = ClusterSpec(name="bench-large", nodes=nodes, per_process=nodes // processes)
    began = CLOCK.monotonic()
    async with running_cluster(spec) as (cluster, client):
        figures = {
            f"start-up, {nodes} nodes Ready [s]": CLOCK.monotonic() - began,
            f"memory, {nodes} nodes idle [MB]": memory_mb(cluster),
        }
        for pinned in (True, False):
            figures |= await _from_outside(cluster, client, nodes, pods, pinned=pinned)
        figures |= await _deployed(client, nodes, replicas)
        return figures


async def _from_outside(
    cluster: LocalCluster, client: RemoteClient, nodes: int, pods: int, *, pinned: bool
) -> dict[str, float]:
    how = "pinned" if pinned else "scheduled"
    label = f"{pods} {how} pods on {nodes} nodes"
    bodies = [_pod(f"{how}-{n}", f"node-{n % nodes + 1}" if pinned else "") for n in range(pods)]
    began, work_s = CLOCK.monotonic(), cpu_s(cluster)
    created = await rate(cluster.kubeconfig, [Request("POST", PODS, body) for body in bodies], lanes=LANES)

    async def all_run() -> bool:
        waiting = await client.list(kinds.PODS, namespace=NAMESPACE, field_selector="status.phase!=Running")
        return not waiting.items

    await until(all_run, period_s=POLL_S)
    figures = {
        f"{label} to Running [s]": CLOCK.monotonic() - began,
        f"{label}, created [1/s]": created,
        f"{label}, CPU time of all processes [ms per pod]": 1000 * (cpu_s(cluster) - work_s) / pods,
        f"{label}, memory [MB]": memory_mb(cluster),
    }
    began = CLOCK.monotonic()
    await rate(cluster.kubeconfig, [Request("DELETE", PODS)], lanes=1)
    await until(lambda: _none_left(client), period_s=POLL_S)
    figures[f"{label}, deleted [pods/s]"] = pods / (CLOCK.monotonic() - began)
    return figures


async def _deployed(client: RemoteClient, nodes: int, replicas: int) -> dict[str, float]:
    label = f"Deployment of {replicas} on {nodes} nodes"
    figures: dict[str, float] = {}
    began = CLOCK.monotonic()
    await client.create(kinds.DEPLOYMENTS, deployment("large", replicas), namespace=NAMESPACE)
    for field, what in (("replicas", "created"), ("availableReplicas", "to Available")):

        async def there(field: str = field) -> bool:
            found = await client.get(kinds.DEPLOYMENTS, "large", namespace=NAMESPACE)
            return bool(found.get("status", {}).get(field, 0) >= replicas)

        await until(there)
        figures[f"{label}, {what} [pods/s]"] = replicas / (CLOCK.monotonic() - began)
    return figures


async def _none_left(client: RemoteClient) -> bool:
    return not (await client.list(kinds.PODS, namespace=NAMESPACE)).items


def _pod(name: str, node: str) -> str:
    spec = {"terminationGracePeriodSeconds": 0, "containers": [CONTAINER]}
    if node:
        spec["nodeName"] = node
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
