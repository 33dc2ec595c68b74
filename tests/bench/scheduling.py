"""The scheduler alone: store, verbs and scheduler in this process, no agents, memory journal.

Everything is there before the scheduler starts, so the time is the scheduler's and that of its bindings.
"""

from __future__ import annotations

import asyncio
import logging

import structlog

from broker import garbage
from broker.chance import Chance
from broker.system import ActorSystem
from cluster.api import kinds
from cluster.api.objects import Object
from cluster.api.registry import Registry
from cluster.api.timings import STANDARD
from cluster.reconcile.world import Background, World
from cluster.scheduler.scheduler import Scheduler
from cluster.server.local import LocalClient
from cluster.server.verbs import Verbs
from cluster.store.journal.memory import MemoryJournal
from cluster.store.store import Store
from tests.bench.running import CLOCK, until

ZONES = 10
HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
APP = {"matchLabels": {"app": "load"}}
SPREAD: Object = {
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": APP}
    ],
    "affinity": {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 100, "podAffinityTerm": {"topologyKey": HOSTNAME, "labelSelector": APP}}
            ]
        }
    },
}


async def scheduling(pods: int = 5000, nodes: int = 1000) -> dict[str, float]:
    label = f"scheduler, {pods} pods on {nodes} nodes"
    return {
        f"{label} [pods/s]": await scheduled({}, pods, nodes),
        f"{label}, spread and anti-affinity [pods/s]": await scheduled(SPREAD, pods, nodes),
    }


async def scheduled(extra: Object, pods: int, nodes: int) -> float:
    """Pods per second from the scheduler's start to the last binding."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    chance, log = Chance(1), structlog.get_logger()
    store = Store(MemoryJournal(), clock=CLOCK)
    verbs = Verbs(store, Registry(), clock=CLOCK, chance=chance)
    client = LocalClient(verbs, "admin")
    world = World(client, clock=CLOCK, chance=chance, timings=STANDARD, log=log, registry=Registry())
    await _fill(client, extra, pods, nodes)
    garbage.settle()
    system = ActorSystem(clock=CLOCK, chance=chance, log=log)
    system.spawn("informers", lambda: Background(world))
    began = CLOCK.monotonic()
    system.spawn("scheduler", lambda: Scheduler(world))

    async def all_bound() -> bool:
        return all(entry.object["spec"].get("nodeName") for entry in store.list("pods"))

    await until(all_bound)
    took_s = CLOCK.monotonic() - began
    await system.stop()
    verbs.close()
    return pods / took_s


async def _fill(client: LocalClient, extra: Object, pods: int, nodes: int) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    await client.create(
        kinds.NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
    )
    await client.create(kinds.SERVICE_ACCOUNTS, account, namespace="default")
    for number in range(nodes):
        await client.create(kinds.NODES, _node(number))
        await _ready(client, number)
    container = {"name": "c", "image": "pause", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}
    for number in range(pods):
        meta = {"name": f"p{number}", "labels": {"app": "load"}}
        spec = {"containers": [container], **extra}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
        await client.create(kinds.PODS, body, namespace="default")
        if number % 100 == 0:
            await asyncio.sleep(0)


def _node(number: int) -> Object:
    name = f"node-{number}"
    labels = {HOSTNAME: name, ZONE: f"zone-{number % ZONES}"}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {}}


async def _ready(client: LocalClient, number: int) -> None:
    name = f"node-{number}"
    node = await client.get(kinds.NODES, name)
    size = {"cpu": "8", "memory": "32Gi", "pods": "110"}
    conditions = [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}]
    status = {"capacity": size, "allocatable": size, "conditions": conditions}
    await client.update(kinds.NODES, {**node, "status": status}, subresource="status")
    node = await client.get(kinds.NODES, name)
    taints = [t for t in node["spec"].get("taints", ()) if t["key"] != "node.kubernetes.io/not-ready"]
    await client.update(kinds.NODES, {**node, "spec": {**node["spec"], "taints": taints}})
