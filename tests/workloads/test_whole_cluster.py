"""Workloads in the whole simulation: real agents, gateway and scheduler, Kubernetes' own timings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import structlog
from staged_nodes import claim

from broker.clock import LoopClock
from broker.virtualtime import run_virtual
from cluster.api import kinds
from cluster.api.client import PatchType
from cluster.api.errors import TooManyRequests
from cluster.api.objects import Key, Object
from scenarios.expectation import is_ready
from scenarios.simulated_client import SimulatedClient
from scenarios.simulation import SimulatedCluster

Story = Callable[[SimulatedCluster, SimulatedClient], Awaitable[None]]


def simulate(story: Story, *, nodes: int = 3) -> None:
    async def main() -> None:
        cluster = SimulatedCluster(
            nodes=nodes,
            profile="standard",
            seed=1,
            clock=LoopClock(asyncio.get_running_loop()),
            log=structlog.get_logger(),
        )
        await cluster.start()
        try:
            await asyncio.sleep(20)
            await story(cluster, cluster.client())
        finally:
            await cluster.stop()

    run_virtual(main())


def deployment(replicas: int, *, behaviour: Object | None = None, **pod: object) -> Object:
    annotations = {"kubemu.dev/behaviour": json.dumps({"*": behaviour})} if behaviour else {}
    container = {"name": "c", "image": "nginx:1.27", "resources": {"requests": {"cpu": "200m"}}}
    labels = {"app": "web"}
    template = {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {"containers": [container], **pod},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    meta = {"name": "web", "namespace": "default"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


async def ready(client: SimulatedClient) -> int:
    return sum(is_ready(pod) for pod in (await client.list(kinds.PODS, namespace="default")).items)


async def set_cpu(client: SimulatedClient, cores: float) -> None:
    """What each pod uses from now on."""
    patch = {"metadata": {"annotations": {"kubemu.dev/behaviour": json.dumps({"*": {"cpu_cores": cores}})}}}
    for pod in (await client.list(kinds.PODS, namespace="default")).items:
        await client.patch(
            kinds.PODS, pod["metadata"]["name"], patch, namespace="default", kind=PatchType.MERGE
        )


def test_an_autoscaler_follows_what_the_agents_say_is_used() -> None:
    """Each pod at twice its target: doubled within a minute of being measured, up to the limit; idle: back
    to the minimum, but not before five minutes."""

    async def story(cluster: SimulatedCluster, client: SimulatedClient) -> None:
        await client.create(kinds.DEPLOYMENTS, deployment(2, behaviour={"cpu_cores": 0.2}))
        target = {"type": "Utilization", "averageUtilization": 50}
        body = {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 2,
                "maxReplicas": 6,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            },
        }
        await client.create(kinds.HORIZONTAL_POD_AUTOSCALERS, body)
        await asyncio.sleep(150)
        assert await ready(client) == 6
        await set_cpu(client, 0.01)
        await asyncio.sleep(240)
        assert await ready(client) == 6
        await asyncio.sleep(150)
        assert await ready(client) == 2

    simulate(story)


def test_a_drain_waits_for_the_budget() -> None:
    """Evictions beyond it are refused with 429 until a replacement is ready elsewhere."""

    async def story(cluster: SimulatedCluster, client: SimulatedClient) -> None:
        await client.create(kinds.DEPLOYMENTS, deployment(4, terminationGracePeriodSeconds=2))
        budget = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}},
        }
        await client.create(kinds.POD_DISRUPTION_BUDGETS, budget)
        await asyncio.sleep(30)
        assert await ready(client) == 4
        pods = (await client.list(kinds.PODS, namespace="default")).items
        await client.patch(kinds.NODES, "node-1", {"spec": {"unschedulable": True}})
        await client.patch(kinds.NODES, "node-2", {"spec": {"unschedulable": True}})
        there = [p for p in pods if p["spec"]["nodeName"] in ("node-1", "node-2")]
        refused = 0
        for pod in there:
            while not await _evicted(client, pod):
                refused += 1
                assert await ready(client) >= 3
                await asyncio.sleep(1)
        assert refused > 0
        await asyncio.sleep(30)
        pods = (await client.list(kinds.PODS, namespace="default")).items
        assert {p["spec"]["nodeName"] for p in pods} == {"node-3"}
        assert await ready(client) == 4

    simulate(story)


async def _evicted(client: SimulatedClient, pod: Object) -> bool:
    meta = {"name": pod["metadata"]["name"], "namespace": "default"}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}
    try:
        await client.create(kinds.PODS, body, namespace="default", subresource="eviction", name=meta["name"])
    except TooManyRequests:
        return False
    return True


def test_a_pod_with_a_claim_of_the_default_class_runs_and_is_explained() -> None:
    async def story(cluster: SimulatedCluster, client: SimulatedClient) -> None:
        await client.create(kinds.PERSISTENT_VOLUME_CLAIMS, claim("data"))
        volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "user", "namespace": "default"},
            "spec": {"containers": [{"name": "c", "image": "nginx:1.27"}], "volumes": [volume]},
        }
        await client.create(kinds.PODS, body)
        await asyncio.sleep(30)
        assert await ready(client) == 1
        found = await client.get(kinds.PERSISTENT_VOLUME_CLAIMS, "data", namespace="default")
        assert (found["status"]["phase"], found["spec"]["storageClassName"]) == ("Bound", "standard")
        page = cluster.plane.page("namespaces/default/pods/user/scheduling")
        assert page is not None
        assert (page["state"], len(page["nodes"])) == ("scheduled", 3)
        assert all(node["feasible"] for node in page["nodes"])
        assert cluster.plane.page("namespaces/default/pods/nobody/scheduling") is None
        assert cluster.plane.store.get("pods", Key("default", "user")) is not None

    simulate(story)
