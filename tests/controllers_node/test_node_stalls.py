"""What the node lifecycle controller makes of silence: of a node's, and of its own.

A machine that was suspended, or a control plane that was held up for minutes, must not find all nodes dead
when it comes back: the time in which nobody could have been heard is forgiven.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog
from controlled_cluster import Cluster, simulate

from broker.chance import Chance
from broker.clock import LoopClock
from broker.system import ActorSystem
from cluster.api import kinds
from cluster.api.objects import Object, condition_of, micro_timestamp
from cluster.api.registry import Registry
from cluster.api.timings import STANDARD
from cluster.controllers import node_lifecycle
from cluster.reconcile.world import Background, World

GRACE_S = STANDARD.node_monitor_grace_s


class Jumping:
    """A clock that a test can set forward while no timer runs, as a suspended machine's."""

    def __init__(self) -> None:
        self._inner = LoopClock(asyncio.get_running_loop())
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return self._inner.monotonic() + self.ahead_s

    def now(self) -> datetime:
        return self._inner.now() + timedelta(seconds=self.ahead_s)


class Nodes:
    def __init__(self, cluster: Cluster, clock: Jumping) -> None:
        self.cluster, self.clock = cluster, clock

    async def join(self, name: str) -> None:
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        await self.cluster.create(kinds.NODES, body)
        await self.cluster.merge(kinds.NODES, name, {"status": {"conditions": [ready]}}, "status")
        await self.cluster.merge(kinds.NODES, name, {"spec": {"taints": None}})
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": name},
        }
        await self.cluster.create(kinds.LEASES, lease)

    async def renew(self, name: str) -> None:
        patch = {"spec": {"renewTime": micro_timestamp(self.clock.now())}}
        await self.cluster.client.patch(kinds.LEASES, name, patch, namespace="kube-node-lease")

    async def readiness(self, name: str) -> str:
        found: Object = await self.cluster.get(kinds.NODES, name)
        return str((condition_of(found, "Ready") or {})["status"])


def watched(story: Callable[[Nodes], Awaitable[None]]) -> None:
    """A cluster in which only the node lifecycle controller looks at nodes, by a jumping clock."""

    async def scenario(cluster: Cluster) -> None:
        await cluster.create(
            kinds.NAMESPACES,
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-node-lease"}},
        )
        clock, chance, log = Jumping(), Chance(1), structlog.get_logger()
        world = World(
            cluster.client, clock=clock, chance=chance, timings=STANDARD, log=log, registry=Registry()
        )
        system = ActorSystem(clock=clock, chance=chance, log=log)
        system.spawn("background", lambda: Background(world))
        system.spawn("nodes", lambda: node_lifecycle.controller(world))
        try:
            await story(Nodes(cluster, clock))
        finally:
            await system.stop()

    simulate(scenario)


async def _steadily(nodes: Nodes, seconds: float, *names: str) -> None:
    for _ in range(int(seconds / 10)):
        for name in names:
            await nodes.renew(name)
        await asyncio.sleep(10)


def test_a_silent_node_is_found_out_after_the_grace_period() -> None:
    async def story(nodes: Nodes) -> None:
        await nodes.join("quiet")
        await nodes.join("well")
        await _steadily(nodes, 100, "quiet", "well")
        await _steadily(nodes, GRACE_S - 15, "well")
        assert await nodes.readiness("quiet") == "True"
        await _steadily(nodes, 30, "well")
        assert await nodes.readiness("quiet") == "Unknown"
        assert await nodes.readiness("well") == "True"

    watched(story)


def test_a_stall_of_the_control_plane_is_forgiven() -> None:
    async def story(nodes: Nodes) -> None:
        await nodes.join("well")
        await nodes.join("quiet")
        await _steadily(nodes, 60, "well", "quiet")
        nodes.clock.ahead_s += 600
        await asyncio.sleep(8)
        assert await nodes.readiness("well") == "True"
        assert await nodes.readiness("quiet") == "True"
        await _steadily(nodes, GRACE_S + 20, "well")
        assert await nodes.readiness("well") == "True"
        assert await nodes.readiness("quiet") == "Unknown", "forgiven once, not for ever"

    watched(story)


def test_stalls_that_keep_coming_hide_no_dead_node() -> None:
    """5 s lost in every 15: the dead node is found out by the time that really passed."""

    async def story(nodes: Nodes) -> None:
        await nodes.join("well")
        await nodes.join("dead")
        await _steadily(nodes, 30, "well", "dead")
        for _ in range(10):
            await _steadily(nodes, 10, "well")
            nodes.clock.ahead_s += 5
        assert await nodes.readiness("dead") == "Unknown"
        assert await nodes.readiness("well") == "True"

    watched(story)
