"""The scheduler alone: store, verbs and scheduler in this process, no agents, memory journal.

Everything is there before the scheduler starts, so the time is the scheduler's and that of its bindings.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

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
from cluster.store.entry import Change
from cluster.store.journal.memory import MemoryJournal
from cluster.store.store import Store
from tests.bench.running import CLOCK, until

ZONES = 10
HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
APP = {"matchLabels": {"app": "load"}}
_NOTHING: Object = {}
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
    figures: dict[str, float] = {}
    for extra, how in ((_NOTHING, ""), (SPREAD, ", spread and anti-affinity")):
        label = f"scheduler, {pods} pods on {nodes} nodes{how}"
        measured = await scheduled(extra, pods, nodes)
        figures[f"{label} [pods/s]"] = measured.per_second
        figures[f"{label}, a pod alone, median [ms]"] = measured.alone_ms
    return figures


async def growth(pods: int = 1500, sizes: Sequence[int] = (1000, 5000)) -> dict[str, float]:
    """What a pod costs on clusters of different sizes. As in Kubernetes the search ends at a share of feasible
    nodes that falls with the size, here 42 and 10 percent: 420 and 500 nodes."""
    figures: dict[str, float] = {}
    for extra, how in ((_NOTHING, ""), (SPREAD, ", spread and anti-affinity")):
        for nodes in sizes:
            label = f"scheduler, on {nodes} nodes{how}, CPU time of a pod [ms]"
            figures[label] = (await scheduled(extra, pods, nodes)).work_ms
    return figures


class Measured(NamedTuple):
    per_second: float
    """From the scheduler's start to the last binding."""
    work_ms: float
    """Processor time of one pod, with its binding."""
    alone_ms: float
    """From a pod's creation to its binding, when nothing else is going on."""


async def scheduled(extra: Object, pods: int, nodes: int) -> Measured:
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
    began, worked = CLOCK.monotonic(), time.process_time()
    system.spawn("scheduler", lambda: Scheduler(world))

    async def all_bound() -> bool:
        return all(entry.object["spec"].get("nodeName") for entry in store.list("pods"))

    await until(all_bound)
    took_s, work_s = CLOCK.monotonic() - began, time.process_time() - worked
    alone_ms = await _alone(client, store, extra)
    await system.stop()
    verbs.close()
    return Measured(pods / took_s, 1000 * work_s / pods, alone_ms)


async def _alone(client: LocalClient, store: Store, extra: Object, count: int = 101) -> float:
    """The median over pods that are created one after the other."""
    bound = asyncio.Event()

    def look(changes: Sequence[Change]) -> None:
        if any(c.entry.qualified == "pods" and c.entry.object["spec"].get("nodeName") for c in changes):
            bound.set()

    end = store.subscribe(look)
    took_ms = []
    for number in range(count):
        bound.clear()
        began = CLOCK.monotonic()
        await client.create(kinds.PODS, _pod(f"alone-{number}", extra), namespace="default")
        await bound.wait()
        took_ms.append(1000 * (CLOCK.monotonic() - began))
    end()
    return sorted(took_ms)[count // 2]


async def _fill(client: LocalClient, extra: Object, pods: int, nodes: int) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    await client.create(
        kinds.NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
    )
    await client.create(kinds.SERVICE_ACCOUNTS, account, namespace="default")
    for number in range(nodes):
        await client.create(kinds.NODES, _node(number))
        await _ready(client, number)
    for number in range(pods):
        await client.create(kinds.PODS, _pod(f"p{number}", extra), namespace="default")
        if number % 100 == 0:
            await asyncio.sleep(0)


def _pod(name: str, extra: Object) -> Object:
    container = {"name": "c", "image": "pause", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}
    meta = {"name": name, "labels": {"app": "load"}}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container], **extra},
    }  # fmt: skip


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
