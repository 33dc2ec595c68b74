"""The composition root of the node side: one node from its parts, for real processes and for simulations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from agents.behaviour import Library
from agents.choosing import ChosenRuntime
from agents.clusterview import ClusterView
from agents.emulated.runtime import NAME, VERSION, EmulatedRuntime
from agents.host import PodView
from agents.network import Network
from agents.node import NodeActor
from agents.nodemessages import Connected, ControlSeen, ShutDown
from agents.runtime import Runtime
from agents.services.dataplane import Dataplane
from agents.settings import Machine
from agents.shelf import Shelf
from broker import topics
from broker.chance import Chance
from broker.clock import Clock
from broker.message import Envelope
from broker.remote import Peer, receive
from broker.supervision import Tasks
from broker.system import ActorSystem
from broker.transport.link import Transport, Will
from cluster.api.timings import Timings
from cluster.api.wire import OFFLINE, SharedSnapshot, instance_of, online

SHUTDOWN_LOOK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeParts:
    """What one node is made of."""

    cluster: str
    name: str
    epoch: str
    transport: Transport
    runtime: Runtime
    services: Dataplane
    owns_services: bool
    """Nobody else uses them: they end with the node."""
    view: ClusterView
    machine: Machine
    timings: Timings
    clock: Clock
    chance: Chance
    log: FilteringBoundLogger


class AgentNode:
    """One node: its actors and its link to the broker."""

    def __init__(self, parts: NodeParts) -> None:
        self.name = parts.name
        self.epoch = parts.epoch
        self._transport = parts.transport
        self._runtime = parts.runtime
        self._services = parts.services if parts.owns_services else None
        self._view = parts.view
        self._shutdown_grace_s = parts.machine.shutdown_grace_s
        self._tasks = Tasks()
        self._presence = topics.node_presence(parts.cluster, parts.name)
        self._system = ActorSystem(clock=parts.clock, chance=parts.chance, log=parts.log)
        self._peer = Peer(
            parts.transport,
            name=f"{parts.name}-{parts.epoch}",
            publish_to=topics.node_up(parts.cluster, parts.name),
            clock=parts.clock,
            log=parts.log,
        )
        self._node: NodeActor | None = None
        self._actor = self._system.spawn("node", lambda: self._make_actor(parts))
        down = topics.node_down(parts.cluster, parts.name)
        receive(parts.transport, down, self._on_message, log=parts.log)
        parts.transport.subscribe(topics.control_presence(parts.cluster), self._on_control)
        parts.transport.on_connection(self._on_connection)
        parts.view.join(parts.name, parts.transport, self._peer.tell)

    def _make_actor(self, parts: NodeParts) -> NodeActor:
        self._node = NodeActor(
            parts.name,
            epoch=parts.epoch,
            tell=self._peer.tell,
            runtime=parts.runtime,
            services=parts.services,
            view=parts.view,
            size=parts.machine,
            timings=parts.timings,
            runtime_version=f"{NAME}://{VERSION}",
        )
        return self._node

    def pods(self) -> Sequence[PodView]:
        """What the node has, for whoever compares it with what the API says."""
        return self._node.views() if self._node is not None else ()

    async def start(self) -> None:
        """Returns once connected to the broker. Raises AccessDenied."""
        await self._transport.open(will=Will(topic=self._presence, payload=OFFLINE))

    async def stop(self) -> None:
        """A clean end: the node says good-bye, its containers stop at once; with a shutdown grace only after
        the pods had that time to end, and their last statuses were told."""
        if self._shutdown_grace_s:
            self._actor.tell(ShutDown(self._shutdown_grace_s))
            await self._pods_ended()
        self._transport.publish(self._presence, OFFLINE, retain=True)
        await self._halt()
        await self._transport.close()

    async def _pods_ended(self) -> None:
        for _ in range(int(self._shutdown_grace_s / SHUTDOWN_LOOK_S) + 1):
            if all(view.ended for view in self.pods()):
                break
            await asyncio.sleep(SHUTDOWN_LOOK_S)
        await asyncio.sleep(SHUTDOWN_LOOK_S)

    async def kill(self) -> None:
        """The machine is gone: nothing is said to anyone. The link has to be cut by the caller
        (`MemoryBroker.kill`), since a transport of one's own can only be closed politely."""
        await self._halt()

    async def failed(self) -> None:
        """Waits for an error that nobody below could heal, and raises it; returns once stopped."""
        self._tasks.start("runtime", self._runtime.failed())
        self._tasks.start("actors", self._system.failed())
        if self._services is not None:
            self._tasks.start("services", self._services.failed())
        await self._tasks.failed()

    async def _halt(self) -> None:
        self._view.leave(self.name)
        if self._services is not None:
            await self._services.close()
        await self._system.stop()
        await self._runtime.close()
        await self._tasks.close()

    def _on_connection(self, connected: bool) -> None:
        if connected:
            self._transport.publish(self._presence, online(self.epoch), retain=True)
        self._actor.tell(Connected(connected))

    def _on_message(self, topic: str, envelope: Envelope) -> None:
        if isinstance(envelope.body, SharedSnapshot):
            self._view.take(envelope.body)
        else:
            self._actor.tell(envelope.body)

    def _on_control(self, topic: str, payload: bytes) -> None:
        self._actor.tell(ControlSeen(instance_of(payload)))


def build_node(
    name: str,
    *,
    cluster: str,
    transport: Transport,
    network: Network,
    library: Library,
    machine: Machine,
    timings: Timings,
    clock: Clock,
    chance: Chance,
    log: FilteringBoundLogger,
    services: Dataplane | None = None,
    view: ClusterView | None = None,
    processes: Callable[[], Runtime] | None = None,
    shelf: Shelf | None = None,
) -> AgentNode:
    """A node with the emulated runtime, not yet started. Each call draws a new epoch from `chance`.
    `services`, `view`: of a process with several nodes, over the same network; the caller closes them.
    `processes` makes the runtime for pods that want real processes; None (simulations): all are emulated.
    `shelf` has the persistent volumes, where nodes share them; whoever made it closes it."""
    owns_services = services is None
    epoch = chance.name_suffix(10)
    own = chance.fork(f"{name}/{epoch}")
    if view is None:
        view = build_view(cluster, timings=timings, clock=clock, chance=own, log=log.bind(node=name))
    if services is None:
        services = Dataplane(network, log=log.bind(node=name))
        follow(services, view)
    chosen = own.fork("runtime")
    emulated = EmulatedRuntime(services.network, library, clock=clock, chance=chosen, shelf=shelf)
    return AgentNode(
        NodeParts(
            cluster=cluster,
            name=name,
            epoch=epoch,
            transport=transport,
            runtime=ChosenRuntime(emulated, {"process": processes} if processes is not None else {}),
            services=services,
            owns_services=owns_services,
            view=view,
            machine=machine,
            timings=timings,
            clock=clock,
            chance=own,
            log=log.bind(node=name),
        )
    )


def build_view(
    cluster: str, *, timings: Timings, clock: Clock, chance: Chance, log: FilteringBoundLogger
) -> ClusterView:
    """What all nodes of one process know of the cluster."""
    return ClusterView(cluster, timings=timings, clock=clock, chance=chance.fork("view"), log=log)


def follow(services: Dataplane, view: ClusterView) -> None:
    """The data plane works by what the view knows."""
    view.on_change(lambda names: services.take(view, names))
