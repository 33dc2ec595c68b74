"""The faults of a drill: one after another begins, each ends by itself after a while, several may overlap."""

from __future__ import annotations

import asyncio

from agents.behaviour import ANNOTATION
from broker.chance import Chance
from broker.supervision import Tasks
from cluster.api import kinds
from cluster.api.errors import ApiError
from scenarios import behaviours
from scenarios.drills.options import Options
from scenarios.simulation import SimulatedCluster


class Storm:
    def __init__(self, cluster: SimulatedCluster, options: Options, chance: Chance) -> None:
        self._cluster = cluster
        self._options = options
        self._chance = chance
        self._tasks = Tasks()
        self._faults: list[asyncio.Task[None]] = []
        self._busy: dict[str, None] = {}
        """Nodes and central processes that have a fault now."""
        self._count = 0
        self.story: list[str] = []
        """What happened when, for the report of a failure."""

    async def rage(self) -> None:
        """Returns when the storm is over; faults may still be there: `heal` ends them."""
        self._cluster.disturb(self._options.noise)
        over = self._cluster.clock.monotonic() + self._options.storm_s
        while self._cluster.clock.monotonic() < over:
            await asyncio.sleep(self._chance.uniform(0.05, self._options.lull_s))
            self._count += 1
            kind = self._chance.choice(self._options.faults)
            self._faults.append(self._tasks.start(f"fault {self._count}", self._fault(kind)))

    async def heal(self) -> None:
        """Waits for the faults that would end soon, and makes every link good."""
        self._cluster.disturb(())
        for fault in self._faults:
            await fault
        await self._tasks.close()

    async def _fault(self, kind: str) -> None:
        if kind in ("broker", "control"):
            await self._central(kind)
        elif kind == "crash-container":
            await self._crash_container()
        else:
            await self._node(kind)

    async def _outage(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.02, self._options.outage_s))

    def _tell(self, what: str) -> None:
        self.story.append(f"{self._cluster.clock.monotonic():8.3f} {what}")

    async def _central(self, which: str) -> None:
        if which in self._busy:
            return
        self._busy[which] = None
        self._tell(f"{which} killed")
        if which == "broker":
            self._cluster.crash_broker()
            await self._outage()
            self._cluster.restart_broker()
        else:
            await self._cluster.kill_control_plane()
            await self._outage()
            await self._cluster.start_control_plane()
        self._tell(f"{which} started")
        del self._busy[which]

    async def _node(self, kind: str) -> None:
        free = [node for node in await self._cluster.nodes() if node not in self._busy]
        if not free:
            return
        node = self._chance.choice(free)
        self._busy[node] = None
        begin, end = {
            "kill": (self._cluster.kill_node, self._cluster.start_node),
            "stop": (self._cluster.stop_node, self._cluster.start_node),
            "freeze": (self._cluster.freeze_node, self._cluster.thaw_node),
            "partition": (self._cluster.partition_node, self._cluster.heal_node),
        }[kind]
        self._tell(f"{kind} {node}")
        await begin(node)
        await self._outage()
        await end(node)
        self._tell(f"end of {kind} {node}")
        del self._busy[node]

    async def _crash_container(self) -> None:
        client = self._cluster.client("chaos")
        change = behaviours.crash("*", f"crash-{self._count}", 1)
        try:
            pods = (await client.list(kinds.PODS)).items
            if not pods:
                return
            pod = self._chance.choice(pods)
            self._tell(f"crash in {pod['metadata']['name']}")
            annotation = {ANNOTATION: behaviours.merged(pod, change)}
            meta = pod["metadata"]
            await client.patch(
                kinds.PODS,
                meta["name"],
                {"metadata": {"annotations": annotation}},
                namespace=meta["namespace"],
            )
        except (ApiError, OSError):
            return
