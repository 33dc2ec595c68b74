"""A whole control plane without nodes, on virtual time: the real store, verbs and controllers, and a
stand-in for scheduler and kubelets that gives every pod an address and makes it ready after a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog

from broker.chance import Chance
from broker.clock import LoopClock
from broker.supervision import Tasks
from broker.system import ActorSystem
from broker.virtualtime import run_virtual
from cluster.api import kinds
from cluster.api.client import ApiClient
from cluster.api.errors import Conflict, NotFound
from cluster.api.objects import Key, Object, timestamp
from cluster.api.registry import Registry
from cluster.api.resource import Resource
from cluster.api.timings import STANDARD
from cluster.controllers.daemonset.placement import target_node
from cluster.controllers.registry import all_controllers
from cluster.reconcile.metrics import Metrics
from cluster.reconcile.world import Background, Sign, World
from cluster.scheduler.configuration import Configuration
from cluster.scheduler.scheduler import Scheduler
from cluster.server.local import LocalClient
from cluster.server.verbs import Verbs
from cluster.store.journal.memory import MemoryJournal
from cluster.store.store import Store

NEED_AGENTS = ("node-lifecycle-controller", "pod-garbage-collector")
"""Controllers that would see that there are no agents, or not even nodes."""


async def _cannot() -> None:
    raise AssertionError("nothing runs yet")


class Cluster:
    """What a test talks to."""

    def __init__(self, world: World, client: LocalClient, store: Store, verbs: Verbs) -> None:
        self.world, self.client, self.store, self.verbs = world, client, store, verbs
        self.restart_controllers: Callable[[], Awaitable[None]] = _cannot
        """Ends all controllers and the scheduler, and starts new ones that know nothing."""
        self.ready_after_s = 1.0
        self.gone_after_s = 1.0
        self.refuse: Callable[[Object], bool] = lambda pod: False
        """Pods that never become ready."""
        self.finish: Callable[[Object], Object | None] = lambda pod: None
        """The terminal status (phase and so on) that a pod gets instead of becoming ready."""

    async def create(self, resource: Resource, body: Object) -> Object:
        return await self.client.create(resource, body, namespace=body["metadata"].get("namespace", ""))

    async def get(self, resource: Resource, name: str, namespace: str = "default") -> Object:
        return await self.client.get(resource, name, namespace=namespace if resource.namespaced else "")

    async def list(self, resource: Resource, namespace: str = "default", **where: str) -> list[Object]:
        return list((await self.client.list(resource, namespace=namespace, **where)).items)

    async def merge(self, resource: Resource, name: str, patch: Any, subresource: str = "") -> Object:
        namespace = "default" if resource.namespaced else ""
        return await self.client.patch(resource, name, patch, namespace=namespace, subresource=subresource)

    async def pods(self, **where: str) -> list[Object]:
        return await self.list(kinds.PODS, **where)

    async def events(self, reason: str) -> list[str]:
        return [e["message"] for e in await self.list(kinds.EVENTS) if e["reason"] == reason]

    async def eventually(
        self, promise: Callable[[], Awaitable[Any]], *, within_s: float = 120.0, why: str = ""
    ) -> Any:
        """Polls on virtual time until `promise` gives something true."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while True:
            found = await promise()
            if found:
                return found
            assert loop.time() < deadline, f"not within {within_s} s: {why or promise}"
            await asyncio.sleep(0.25)

    async def settle(self, seconds: float = 30.0) -> None:
        await asyncio.sleep(seconds)

    async def expect_quiet(self, seconds: float = 600.0) -> None:
        """Nothing is written while nothing changes."""
        before = self.store.revision
        await asyncio.sleep(seconds)
        assert self.store.revision == before, f"{self.store.revision - before} writes while converged"


class Kubelets:
    """Schedules, starts, finishes and ends pods."""

    def __init__(self, cluster: Cluster, world: World, tasks: Tasks, *, scheduled: bool) -> None:
        """`scheduled`: somebody else gives pods their nodes."""
        self._cluster, self._world, self._tasks, self._scheduled = cluster, world, tasks, scheduled
        self._client = cluster.client
        self._seen: dict[tuple[str, bool], None] = {}
        self._count = 0

    def changed(self, old: Object | None, new: Object | None, cause: str) -> None:
        if new is None:
            return
        ending = "deletionTimestamp" in new["metadata"]
        if self._scheduled and not ending and not new["spec"].get("nodeName"):
            return
        mark = (new["metadata"]["uid"], ending)
        if mark in self._seen:
            return
        self._seen[mark] = None
        self._tasks.start(f"pod-{len(self._seen)}", self._end(new) if ending else self._start(new))

    async def _start(self, pod: Object) -> None:
        meta = pod["metadata"]
        self._count += 1
        ip = f"10.{self._count >> 16}.{(self._count >> 8) & 255}.{self._count & 255}"
        if not pod["spec"].get("nodeName"):
            await asyncio.sleep(0.01)
            if not await self._bind(pod):
                return
        await asyncio.sleep(self._cluster.ready_after_s)
        now = timestamp(self._world.clock.now())
        status: Object = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "startTime": now}
        final = self._cluster.finish(pod)
        ready = "False" if self._cluster.refuse(pod) or final else "True"
        status["conditions"] = [{"type": "Ready", "status": ready, "lastTransitionTime": now}]
        if final:
            status |= final
        try:
            await self._client.patch(
                kinds.PODS,
                meta["name"],
                {"metadata": {"uid": meta["uid"]}, "status": status},
                namespace=meta["namespace"],
                subresource="status",
            )
        except (NotFound, Conflict):
            return

    async def _bind(self, pod: Object) -> bool:
        meta = pod["metadata"]
        target = {"apiVersion": "v1", "kind": "Node", "name": target_node(pod) or "somewhere"}
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": meta["name"]},
            "target": target,
        }
        try:
            await self._client.create(
                kinds.PODS, binding, namespace=meta["namespace"], subresource="binding", name=meta["name"]
            )
        except (NotFound, Conflict):
            return False
        return True

    async def _end(self, pod: Object) -> None:
        meta = pod["metadata"]
        await asyncio.sleep(self._cluster.gone_after_s)
        try:
            await self._client.delete(
                kinds.PODS, meta["name"], namespace=meta["namespace"], uid=meta["uid"], grace_period_s=0
            )
        except (NotFound, Conflict):
            return


@asynccontextmanager
async def running(
    seed: int = 1,
    *,
    kubelets: bool = True,
    metrics: Metrics | None = None,
    scheduler: Configuration | None = None,
    through: Callable[[ApiClient, Chance], ApiClient] | None = None,
    sign: Sign | None = None,
) -> AsyncIterator[Cluster]:
    """`scheduler`: run the real one, so configured, over the nodes that the test creates. `through`: what
    stands between the controllers and the API."""
    loop = asyncio.get_running_loop()
    clock, chance, log = LoopClock(loop), Chance(seed), structlog.get_logger()
    registry = Registry()
    store = Store(MemoryJournal(), clock=clock, verify=True)
    verbs = Verbs(store, registry, clock=clock, chance=chance.fork("verbs"))
    client = LocalClient(verbs, "admin")

    def new_world(client: ApiClient) -> World:
        return World(
            client,
            clock=clock,
            chance=chance,
            timings=STANDARD,
            log=log,
            registry=registry,
            cluster_ca="CA",
            metrics=metrics,
            sign=sign,
        )

    def start_controllers(world: World) -> ActorSystem:
        system = ActorSystem(clock=clock, chance=chance, log=log)
        system.spawn("background", lambda: Background(world))
        for name, factory in all_controllers(world):
            if name not in NEED_AGENTS:
                system.spawn(name, factory)
        if scheduler is not None:
            system.spawn("scheduler", lambda: Scheduler(world, scheduler))
        return system

    nodes = new_world(client)
    api: ApiClient = client if through is None else through(client, chance.fork("through"))
    cluster = Cluster(new_world(api), client, store, verbs)
    tasks = Tasks()
    for name in ("default", "kube-system"):
        await client.create(
            kinds.NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        )
    node_side = ActorSystem(clock=clock, chance=chance, log=log)
    node_side.spawn("background", lambda: Background(nodes))
    systems = [start_controllers(cluster.world)]
    watchers = [tasks.start("failures-1", systems[0].failed())]

    async def restart() -> None:
        await systems[-1].stop()
        cluster.world = new_world(api)
        systems.append(start_controllers(cluster.world))
        watchers.append(tasks.start(f"failures-{len(systems)}", systems[-1].failed()))

    cluster.restart_controllers = restart
    if kubelets:
        nodes.informers.of(kinds.PODS).on_change(
            Kubelets(cluster, nodes, tasks, scheduled=scheduler is not None).changed
        )
    try:
        yield cluster
        for watcher in watchers:
            assert not watcher.done() or watcher.exception() is None, watcher.exception()
    finally:
        await node_side.stop()
        await tasks.close()
        await systems[-1].stop()
        verbs.close()
        store.close()


def simulate(scenario: Callable[[Cluster], Awaitable[None]], seed: int = 1, **options: Any) -> None:
    """Runs one test on virtual time."""

    async def main() -> None:
        async with running(seed, **options) as cluster:
            await asyncio.sleep(1)
            await scenario(cluster)

    run_virtual(main())


def deployment(name: str = "web", replicas: int = 3, image: str = "nginx:1", **spec: Any) -> Object:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": pod_template(labels, image),
            **spec,
        },
    }


def pod_template(labels: dict[str, str], image: str = "nginx:1", **spec: Any) -> Object:
    container = {"name": "c", "image": image, "ports": [{"containerPort": 80, "name": "http"}]}
    return {"metadata": {"labels": labels}, "spec": {"containers": [container], **spec}}


def key(name: str) -> Key:
    return Key("default", name)
