"""The whole control plane (controllers, scheduler, gateway) on virtual time, with agents that run pods
instantly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from gatewayed_cluster import CLUSTER, CONTROL, FakeAgent

from broker.chance import Chance
from broker.clock import LoopClock
from broker.rules import LinkRules
from broker.transport.memory import MemoryBroker
from broker.virtualtime import run_virtual
from cluster.api import kinds
from cluster.api.objects import Key, Object, condition_of
from cluster.app import ControlPlane
from cluster.settings import Settings
from cluster.store.journal.memory import MemoryJournal


class Plane:
    def __init__(self, seed: int) -> None:
        self.chance = Chance(seed)
        self.clock = LoopClock(asyncio.get_running_loop())
        self.rules = LinkRules()
        self.broker = MemoryBroker(self.chance.fork("broker"))
        self.plane = ControlPlane(
            Settings(cluster=CLUSTER, profile="fast"),
            clock=self.clock,
            chance=self.chance.fork("plane"),
            transport=self.broker.link(CONTROL, self.rules),
            journal=MemoryJournal(),
            log=structlog.get_logger(),
            verify=True,
        )
        self.store = self.plane.store
        self.client = self.plane.client("tester")
        self.agents: list[FakeAgent] = []

    async def agent(self, name: str, epoch: str = "e1") -> FakeAgent:
        agent = FakeAgent(self, name, epoch)
        self.agents.append(agent)
        await agent.start()
        return agent

    def stored(self, resource: Any, name: str, namespace: str = "") -> Object | None:
        entry = self.store.get(resource.qualified, Key(namespace, name))
        return None if entry is None else entry.object

    def pods(self) -> list[Object]:
        return [entry.object for entry in self.store.list("pods", "default")]

    def readiness(self, node: str) -> str:
        found = self.stored(kinds.NODES, node)
        condition = condition_of(found, "Ready") if found else None
        return condition["status"] if condition else ""

    def taints(self, node: str) -> list[str]:
        found = self.stored(kinds.NODES, node)
        taints = found["spec"].get("taints", []) if found else []
        return sorted(f"{t['key'].rpartition('/')[2]}:{t['effect']}" for t in taints)

    def events(self, reason: str) -> list[str]:
        return [e.object["message"] for e in self.store.list("events", "") if e.object["reason"] == reason]

    async def eventually(self, promise: Callable[[], Any], *, within_s: float = 60.0, why: str = "") -> Any:
        deadline = self.clock.monotonic() + within_s
        while not (found := promise()):
            assert self.clock.monotonic() < deadline, f"not within {within_s} s: {why or promise}"
            await asyncio.sleep(0.05)
        return found


def simulate(scenario: Callable[[Plane], Awaitable[None]], *, nodes: int = 3, seed: int = 1) -> None:
    """Runs one test on virtual time, once all nodes are ready."""

    async def main() -> None:
        plane = Plane(seed)
        await plane.plane.start()
        try:
            for number in range(nodes):
                await plane.agent(f"n{number}")
            names = [f"n{number}" for number in range(nodes)]
            await plane.eventually(lambda: all(plane.readiness(n) == "True" for n in names))
            await plane.eventually(lambda: not any(plane.taints(n) for n in names))
            await plane.eventually(lambda: plane.stored(kinds.SERVICE_ACCOUNTS, "default", "default"))
            await scenario(plane)
        finally:
            for agent in plane.agents:
                await agent.stop()
            await plane.plane.stop()
            await plane.plane.failed()

    run_virtual(main())


def deployment(name: str, replicas: int) -> Object:
    labels = {"app": name}
    pod = {"containers": [{"name": "c", "image": "nginx", "resources": {"requests": {"cpu": "100m"}}}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
