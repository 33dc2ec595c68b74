"""Whole workloads through real processes: from a manifest to pods that run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from cluster.api import kinds
from cluster.api.client import PatchType
from cluster.api.objects import Object
from scenarios.launch.cluster import ClusterSpec
from scenarios.rollouts import progress
from tests.bench.rates import list_rates
from tests.bench.running import CLOCK, cpu_s, memory_mb, running_cluster, until

CONTAINER: Object = {
    "name": "app",
    "image": "pause:3.10",
    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
}


def deployment(name: str, replicas: int) -> Object:
    """Like the reference's workload: no probes, small requests."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [CONTAINER]},
            },
        },
    }


async def start_up(nodes: int = 3) -> dict[str, float]:
    started = CLOCK.monotonic()
    async with running_cluster(ClusterSpec(name="bench-start", nodes=nodes)) as (cluster, _):
        return {
            f"start-up, {nodes} nodes Ready [s]": CLOCK.monotonic() - started,
            f"memory, {nodes} nodes [MB]": memory_mb(cluster),
        }


async def rollouts(nodes: int = 100, replicas: int = 1000) -> dict[str, float]:
    """A Deployment to Available, rolled, deleted; pods per second of each."""
    spec = ClusterSpec(name="bench-load", nodes=nodes, per_process=nodes // 2)
    figures: dict[str, float] = {}
    async with running_cluster(spec) as (cluster, client):
        figures[f"memory, {nodes} nodes idle [MB]"] = memory_mb(cluster)

        async def rolled_out() -> bool:
            done, _ = progress(await client.get(kinds.DEPLOYMENTS, "load", namespace="default"))
            return done

        async def none_left() -> bool:
            return not (await client.list(kinds.PODS, namespace="default", label_selector="app=load")).items

        async def timed(label: str, test: Callable[[], Awaitable[bool]], start: Awaitable[Any]) -> None:
            began, work_s = CLOCK.monotonic(), cpu_s(cluster)
            await start
            await until(test)
            figures[f"{label} [pods/s]"] = replicas / (CLOCK.monotonic() - began)
            figures[f"{label}, CPU time of all processes [ms per pod]"] = (
                1000 * (cpu_s(cluster) - work_s) / replicas
            )

        body = deployment("load", replicas)
        await timed(
            f"{replicas} replicas to Available",
            rolled_out,
            client.create(kinds.DEPLOYMENTS, body, namespace="default"),
        )
        figures[f"memory, {nodes} nodes with {replicas} pods [MB]"] = memory_mb(cluster)
        figures |= await list_rates(cluster)
        image = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "pause:3.11"}]}}}}
        await timed(
            "rolling update",
            rolled_out,
            client.patch(kinds.DEPLOYMENTS, "load", image, namespace="default", kind=PatchType.STRATEGIC),
        )
        await timed("deletion", none_left, client.delete(kinds.DEPLOYMENTS, "load", namespace="default"))
    return figures
