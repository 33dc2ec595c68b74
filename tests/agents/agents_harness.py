"""A node on virtual time with a gateway that does what it is told: the vocabulary of the agents' tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from agents.app import AgentNode, build_node
from agents.behaviour import load_library
from agents.memorynetwork import MemoryNetwork
from agents.settings import Machine
from broker import topics
from broker.chance import Chance
from broker.clock import LoopClock
from broker.message import Envelope
from broker.remote import Peer, receive
from broker.transport.memory import MemoryBroker
from broker.virtualtime import run_virtual
from cluster.api import wire
from cluster.api.objects import Object
from cluster.api.timings import STANDARD

CLUSTER, NODE = "test", "n1"
SHARED = ("Service", "EndpointSlice")


def make_pod(name: str = "web-1", *, annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    meta: Object = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    if annotations:
        meta["annotations"] = annotations
    containers = spec.pop("containers", [make_container()])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {"nodeName": NODE, "restartPolicy": "Always", "containers": containers, **spec},
    }


def make_container(name: str = "web", image: str = "nginx:1.27", **fields: Any) -> Object:
    return {"name": name, "image": image, **fields}


def deleted(pod: Object, grace_s: int = 30) -> Object:
    meta = {
        **pod["metadata"],
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": grace_s,
    }
    return {**pod, "metadata": meta}


@dataclass
class World:
    """The broker, the network, a scripted gateway and the node under test."""

    broker: MemoryBroker
    network: MemoryNetwork
    clock: LoopClock
    chance: Chance
    wanted: dict[str, Object] = field(default_factory=dict)
    statuses: dict[str, Object] = field(default_factory=dict)
    history: list[tuple[float, str, Object | None]] = field(default_factory=list)
    events: list[wire.AgentEvent] = field(default_factory=list)
    messages: list[Any] = field(default_factory=list)
    obeys_probes: bool = True
    acknowledges: bool = True
    stores: bool = True
    """While it acknowledges, whether it says that reports are durable."""
    sessions: int = 0
    sequence: int = 0
    shared: int = 0
    node: AgentNode | None = None
    peer: Peer | None = None
    link: Any = None

    async def open_gateway(self) -> None:
        self.link = self.broker.link("control@kubemu")
        log = structlog.get_logger()
        self.peer = Peer(
            self.link, name="c", publish_to=topics.node_down(CLUSTER, NODE), clock=self.clock, log=log
        )
        receive(self.link, topics.all_nodes_up(CLUSTER), self._take, log=log)
        await self.link.open()
        self.link.publish(topics.control_presence(CLUSTER), wire.online("first"), retain=True)

    async def start_node(self, address: str = "") -> AgentNode:
        self.node = build_node(
            NODE,
            cluster=CLUSTER,
            transport=self.broker.link(NODE),
            network=self.network,
            library=load_library(),
            machine=Machine(labels={"zone": "a"}, address=address),
            timings=STANDARD,
            clock=self.clock,
            chance=self.chance,
            log=structlog.get_logger(),
        )
        await self.node.start()
        return self.node

    async def kill_node(self) -> None:
        assert self.node is not None
        self.broker.kill(NODE)
        await self.node.kill()

    def tell(self, message: Any) -> None:
        assert self.peer is not None
        self.peer.tell(message)

    def want(self, *objects: Object) -> None:
        """Adds or changes objects, as a delta."""
        for obj in objects:
            self.wanted[obj["kind"] + obj["metadata"]["name"]] = obj
        if shared := [obj for obj in objects if obj["kind"] in SHARED]:
            self._share(texts=[json.dumps(obj) for obj in shared], removed=[])
        if self.sessions:
            self._desired(full=False, objects=[obj for obj in objects if obj["kind"] not in SHARED])

    def unwant(self, obj: Object) -> None:
        del self.wanted[obj["kind"] + obj["metadata"]["name"]]
        meta = obj["metadata"]
        removed = wire.Removed(
            kind=obj["kind"], namespace=meta["namespace"], name=meta["name"], uid=meta.get("uid", "")
        )
        if obj["kind"] in SHARED:
            self._share(texts=[], removed=[removed])
            return
        self._desired(full=False, objects=[], removed=[removed])

    def _share(self, *, texts: list[str], removed: list[wire.Removed]) -> None:
        self.shared += 1
        assert self.link is not None
        peer = Peer(
            self.link,
            name="c",
            publish_to=topics.shared_down(CLUSTER),
            clock=self.clock,
            log=structlog.get_logger(),
        )
        peer.tell(wire.Shared(instance="first", sequence=self.shared, texts=texts, removed=removed))

    def _snapshot(self, request: str) -> None:
        texts = [json.dumps(obj) for obj in self.wanted.values() if obj["kind"] in SHARED]
        self.tell(
            wire.SharedSnapshot(
                request=request, instance="first", sequence=self.shared, part=0, more=False, texts=texts
            )
        )

    def _desired(
        self, *, full: bool, objects: list[Object], removed: list[wire.Removed] | None = None
    ) -> None:
        self.sequence += 1
        self.tell(
            wire.Desired(
                session=f"s{self.sessions}",
                sequence=self.sequence,
                full=full,
                set=objects,
                removed=removed or [],
            )
        )

    def _take(self, topic: str, envelope: Envelope) -> None:
        message = envelope.body
        self.messages.append(message)
        match message:
            case wire.Register():
                self.sessions += 1
                self.sequence = 0
                node = {"metadata": {"name": NODE}, "spec": {"podCIDR": "127.5.0.0/24"}}
                self.tell(
                    wire.Registered(
                        epoch=message.epoch,
                        session=f"s{self.sessions}",
                        node=node,
                        service_cidr="10.96.0.0/12",
                    )
                )
                wanted = [obj for obj in self.wanted.values() if obj["kind"] not in SHARED]
                self._desired(full=True, objects=wanted)
            case wire.SharedWanted():
                self._snapshot(message.request)
            case wire.PodStatuses():
                self._take_statuses(message)
            case wire.AgentEvent():
                self.events.append(message)
            case wire.ProbeFailed() if self.obeys_probes:
                self.tell(
                    wire.RestartContainer(
                        uid=message.uid,
                        container=message.container,
                        expected_restart_count=message.restart_count,
                        reason=message.message,
                    )
                )

    def _take_statuses(self, message: wire.PodStatuses) -> None:
        if message.session != f"s{self.sessions}":
            return
        for report in message.statuses:
            self.history.append((self.clock.monotonic(), report.name, report.status))
            if report.status is None:
                self.statuses.pop(report.name, None)
            else:
                self.statuses[report.name] = report.status
        if self.acknowledges:
            self.tell(
                wire.StatusesStored(
                    epoch=message.epoch,
                    session=message.session,
                    sequence=message.sequence if self.stores else 0,
                    accepted=message.sequence,
                )
            )

    # --- expectations

    def container(self, pod: str = "web-1", name: str = "web") -> Object:
        status = self.statuses[pod]
        every = [*status.get("initContainerStatuses", ()), *status["containerStatuses"]]
        return next(c for c in every if c["name"] == name)

    def condition(self, type: str, pod: str = "web-1") -> Object:
        return next(c for c in self.statuses[pod]["conditions"] if c["type"] == type)

    def reasons(self, uid: str = "uid-web-1") -> list[str]:
        return [event.reason for event in self.events if event.uid == uid]

    async def expect(self, what: Callable[[], bool], within_s: float = 60.0) -> float:
        """Waits on virtual time; the moment it came true."""
        end = self.clock.monotonic() + within_s
        while True:
            try:
                if what():
                    return self.clock.monotonic()
            except (KeyError, StopIteration):
                pass
            assert self.clock.monotonic() < end, f"not within {within_s} s; statuses: {self.statuses}"
            await asyncio.sleep(0.01)

    async def expect_ready(self, pod: str = "web-1", within_s: float = 60.0) -> float:
        return await self.expect(lambda: self.condition("Ready", pod)["status"] == "True", within_s)


def simulate(story: Callable[[World], Awaitable[None]], *, seed: int = 1) -> World:
    """Runs a story with an open gateway and a started node; returns what is left for a look."""

    async def main() -> World:
        clock, chance = LoopClock(asyncio.get_running_loop()), Chance(seed)
        world = World(
            broker=MemoryBroker(chance.fork("broker")),
            network=MemoryNetwork(chance.fork("network")),
            clock=clock,
            chance=chance.fork("nodes"),
        )
        await world.open_gateway()
        await world.start_node()
        await story(world)
        assert world.node is not None
        await world.node.stop()
        await world.link.close()
        await world.network.close()
        return world

    return run_virtual(main())
