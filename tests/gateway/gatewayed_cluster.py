"""A store, the verbs, node IPAM and the gateway on virtual time, with agents that speak the protocol (the
real agents' books over the memory transport) and run pods instantly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog

from agents.clusterview import ClusterView
from agents.desired import DesiredState, Verdict
from agents.outbox import Outbox
from broker import topics
from broker.chance import Chance
from broker.clock import LoopClock
from broker.message import Envelope
from broker.remote import Peer, receive
from broker.rules import LinkRules
from broker.supervision import Tasks
from broker.system import ActorSystem
from broker.transport.link import Will
from broker.transport.memory import MemoryBroker
from broker.virtualtime import run_virtual
from cluster.api import kinds, wire
from cluster.api.objects import Key, Object
from cluster.api.registry import Registry
from cluster.api.timings import FAST
from cluster.controllers import node_ipam
from cluster.reconcile.world import Background, World
from cluster.server.gateway import Gateway
from cluster.server.local import LocalClient
from cluster.server.verbs import Verbs
from cluster.store.journal.memory import MemoryJournal
from cluster.store.store import Store

CLUSTER = "test"
CONTROL = "control@kubemu"
READY = {
    "type": "Ready",
    "status": "True",
    "reason": "KubeletReady",
    "message": "kubelet is posting ready status",
}


class FakeAgent:
    """Runs each desired pod at once, ends each deleted one at once, and reports."""

    def __init__(self, cluster: GatewayedCluster, name: str, epoch: str = "e1") -> None:
        self.cluster, self.name, self.epoch = cluster, name, epoch
        self.transport = cluster.broker.link(name, cluster.rules)
        self.desired = DesiredState()
        self.outbox = Outbox(epoch)
        self.running: dict[str, Object] = {}
        self.orders: list[wire.RestartContainer] = []
        self.streams: list[Any] = []
        self.registrations = 0
        self.beating = True
        self._unheard = 0
        self.session = ""
        self._begun: dict[str, None] = {}
        self._tasks = Tasks()
        self._peer = Peer(
            self.transport,
            name=f"{name}-{epoch}",
            publish_to=topics.node_up(CLUSTER, name),
            clock=cluster.clock,
            log=structlog.get_logger(),
        )
        self.view = ClusterView(
            CLUSTER,
            timings=FAST,
            clock=cluster.clock,
            chance=cluster.chance.fork(f"view/{name}/{epoch}"),
            log=structlog.get_logger(),
        )

    async def start(self) -> None:
        self.view.join(self.name, self.transport, self.tell)
        receive(self.transport, topics.node_down(CLUSTER, self.name), self._on_message)
        self.transport.subscribe(topics.control_presence(CLUSTER), lambda t, p: self._register())
        presence = topics.node_presence(CLUSTER, self.name)
        await self.transport.open(will=Will(topic=presence, payload=wire.OFFLINE))
        self.transport.publish(presence, wire.online(self.epoch), retain=True)
        self._register()
        self._tasks.start("beat", self._beat())

    async def stop(self) -> None:
        self.view.leave(self.name)
        await self._tasks.close()
        await self.transport.close()
        await self._tasks.failed()

    async def kill(self) -> None:
        self.view.leave(self.name)
        await self._tasks.close()
        self.cluster.broker.kill(self.name)

    def tell(self, message: Any) -> None:
        self._peer.tell(message)

    def _register(self) -> None:
        self.registrations += 1
        self.outbox.end()
        self.session = ""
        self.tell(registration(self.name, self.epoch, begun=next(reversed(self._begun), "")))

    async def _beat(self) -> None:
        while True:
            if self.beating:
                if not self.session or self._is_unheard():
                    self._register()
                self.tell(
                    wire.Heartbeat(
                        epoch=self.epoch,
                        session=self.session,
                        applied=self.desired.applied,
                        conditions=[READY],
                    )
                )
            await asyncio.sleep(FAST.heartbeat_s)

    def _is_unheard(self) -> bool:
        """Whether a report has waited for its acknowledgement for two heartbeats."""
        self._unheard = self._unheard + 1 if self.outbox.missing(self.outbox.sent) else 0
        return self._unheard > 2

    def _on_message(self, topic: str, envelope: Envelope) -> None:
        match envelope.body:
            case wire.Registered() as message if message.epoch == self.epoch:
                if message.session in self._begun:
                    return
                self._begun[message.session] = None
                self.session = message.session
                self.desired.begin(message.session)
                for report in self.outbox.begin(message.session):
                    self.tell(report)
            case wire.Desired() as message:
                verdict, _ = self.desired.apply(message)
                if verdict is Verdict.GAP:
                    self._register()
                if verdict is Verdict.APPLIED:
                    self._run()
            case wire.RegisterAgain():
                self._register()
            case wire.SharedSnapshot() as message:
                self.view.take(message)
            case wire.StatusesStored() as message:
                self.outbox.stored(message.session, message.sequence)
            case wire.RestartContainer() as message:
                self.orders.append(message)
            case wire.StreamOpen() | wire.StreamData() | wire.StreamGrant() | wire.StreamClose() as message:
                self.streams.append(message)

    def _run(self) -> None:
        for uid, pod in self.desired.pods.items():
            meta = pod["metadata"]
            if "deletionTimestamp" in meta:
                self.running.pop(uid, None)
                self.outbox.gone(uid, meta["namespace"], meta["name"])
            elif uid not in self.running:
                self.running[uid] = pod
                self.outbox.report(uid, meta["namespace"], meta["name"], running_status())
        for uid in [uid for uid in self.running if uid not in self.desired.pods]:
            meta = self.running.pop(uid)["metadata"]
            self.outbox.gone(uid, meta["namespace"], meta["name"])
        self.send()

    def send(self) -> None:
        if self.outbox.pending:
            for report in self.outbox.take():
                self.tell(report)


class GatewayedCluster:
    def __init__(self, seed: int) -> None:
        self.chance = Chance(seed)
        self.clock = LoopClock(asyncio.get_running_loop())
        self.rules = LinkRules()
        self.broker = MemoryBroker(self.chance.fork("broker"))
        self.registry = Registry()
        self.store = Store(MemoryJournal(), clock=self.clock, verify=True)
        self.verbs = Verbs(self.store, self.registry, clock=self.clock, chance=self.chance.fork("verbs"))
        self.client = LocalClient(self.verbs, "admin")
        self.agents: list[FakeAgent] = []
        self._starts = 0
        self.gateway = self.new_gateway()

    def new_gateway(self) -> Gateway:
        self._starts += 1
        return Gateway(
            cluster=CLUSTER,
            store=self.store,
            client=self.client,
            transport=self.broker.link(CONTROL, self.rules),
            timings=FAST,
            service_cidr="10.96.0.0/16",
            clock=self.clock,
            chance=self.chance.fork(f"gateway-{self._starts}"),
            log=structlog.get_logger(),
        )

    async def agent(self, name: str, epoch: str = "e1") -> FakeAgent:
        agent = FakeAgent(self, name, epoch)
        self.agents.append(agent)
        await agent.start()
        return agent

    async def pod(self, name: str, node: str, **spec: Any) -> Object:
        return await self.client.create(kinds.PODS, pod_object(name, node, **spec), namespace="default")

    async def get_pod(self, name: str) -> Object:
        return await self.client.get(kinds.PODS, name, namespace="default")

    def stored(self, resource: Any, name: str, namespace: str = "") -> Object | None:
        entry = self.store.get(resource.qualified, Key(namespace, name))
        return None if entry is None else entry.object

    async def eventually(self, promise: Callable[[], Any], *, within_s: float = 60.0, why: str = "") -> Any:
        deadline = self.clock.monotonic() + within_s
        while not (found := promise()):
            assert self.clock.monotonic() < deadline, f"not within {within_s} s: {why or promise}"
            await asyncio.sleep(0.05)
        return found


@asynccontextmanager
async def running(seed: int = 1) -> AsyncIterator[GatewayedCluster]:
    cluster = GatewayedCluster(seed)
    for name in ("default", "kube-node-lease"):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await cluster.client.create(kinds.NAMESPACES, namespace)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    await cluster.client.create(kinds.SERVICE_ACCOUNTS, account, namespace="default")
    world = World(
        cluster.client,
        clock=cluster.clock,
        chance=cluster.chance,
        timings=FAST,
        log=structlog.get_logger(),
        registry=cluster.registry,
    )
    system = ActorSystem(clock=cluster.clock, chance=cluster.chance, log=structlog.get_logger())
    system.spawn("background", lambda: Background(world))
    system.spawn("ipam", lambda: node_ipam.controller(world))
    await cluster.gateway.start()
    try:
        yield cluster
    finally:
        for agent in cluster.agents:
            await agent.stop()
        await cluster.gateway.stop()
        await cluster.gateway.failed()
        await system.stop()
        cluster.verbs.close()
        cluster.store.close()


def simulate(scenario: Callable[[GatewayedCluster], Awaitable[None]], seed: int = 1) -> None:
    async def main() -> None:
        async with running(seed) as cluster:
            await scenario(cluster)

    run_virtual(main())


def registration(name: str, epoch: str, begun: str = "") -> wire.Register:
    return wire.Register(
        begun=begun,
        node=name,
        epoch=epoch,
        labels={"kubernetes.io/hostname": name},
        capacity={"cpu": "4", "memory": "8Gi", "pods": "110"},
        allocatable={"cpu": "4", "memory": "8Gi", "pods": "110"},
        addresses=[{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": name}],
        node_info={
            "architecture": "amd64", "bootID": epoch, "containerRuntimeVersion": "emulated://1",
            "kernelVersion": "6", "kubeProxyVersion": "", "kubeletVersion": "v1.37.0", "machineID": name,
            "operatingSystem": "linux", "osImage": "kubemu", "systemUUID": name,
        },
    )  # fmt: skip


def running_status(restarts: int = 0) -> Object:
    return {
        "phase": "Running",
        "podIP": "10.244.0.5",
        "podIPs": [{"ip": "10.244.0.5"}],
        "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"},
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"},
        ],
        "containerStatuses": [
            {
                "name": "c", "image": "nginx", "imageID": "i", "ready": True, "restartCount": restarts,
                "started": True, "state": {"running": {"startedAt": "2026-01-01T00:00:05Z"}},
            }
        ],
    }  # fmt: skip


def pod_object(name: str, node: str, **spec: Any) -> Object:
    containers = [{"name": "c", "image": "nginx"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": containers, "nodeName": node, **spec},
    }
