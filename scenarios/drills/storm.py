"""The faults of a drill: one after another begins, each ends by itself after a while, several may overlap."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agents.behaviour import ANNOTATION
from broker.chance import Chance
from broker.clock import Clock
from broker.supervision import Tasks
from cluster.api import kinds
from cluster.api.client import ApiClient
from cluster.api.errors import ApiError
from scenarios import behaviours
from scenarios.drills.options import Options
from scenarios.faults import CentralProcess, Faults

Outage = Callable[[CentralProcess, float], Awaitable[None]]
"""Kills a central process and returns when it runs again, after about so many seconds."""


class Storm:
    """On a cluster of simulated machines or of real processes."""

    def __init__(
        self,
        faults: Faults,
        outage: Outage,
        client: ApiClient,
        *,
        clock: Clock,
        options: Options,
        chance: Chance,
    ) -> None:
        self._faults = faults
        self._outage = outage
        self._client = client
        self._clock = clock
        self._options = options
        self._chance = chance
        self._tasks = Tasks()
        self._raging: list[asyncio.Task[None]] = []
        self._busy: dict[str, None] = {}
        """Nodes and central processes that have a fault now."""
        self._count = 0
        self.story: list[str] = []
        """What happened when, for the report of a failure."""

    async def rage(self) -> None:
        """Returns when the storm is over; faults may still be there: `heal` ends them."""
        over = self._clock.monotonic() + self._options.storm_s
        while self._clock.monotonic() < over:
            await asyncio.sleep(self._chance.uniform(0.05, self._options.lull_s))
            self._count += 1
            kind = self._chance.choice(self._options.faults)
            self._raging.append(self._tasks.start(f"fault {self._count}", self._fault(kind)))

    async def heal(self) -> None:
        """Waits for the faults that would end soon."""
        for fault in self._raging:
            await fault
        await self._tasks.close()

    async def _fault(self, kind: str) -> None:
        match kind:
            case "broker":
                await self._central("broker")
            case "control":
                await self._central("controller-manager")
            case "crash-container":
                await self._crash_container()
            case _:
                await self._node(kind)

    def _outage_s(self) -> float:
        return self._chance.uniform(0.02, self._options.outage_s)

    def _tell(self, what: str) -> None:
        self.story.append(f"{self._clock.monotonic():8.3f} {what}")

    async def _central(self, which: CentralProcess) -> None:
        if which in self._busy:
            return
        self._busy[which] = None
        self._tell(f"{which} killed")
        await self._outage(which, self._outage_s())
        self._tell(f"{which} started")
        del self._busy[which]

    async def _node(self, kind: str) -> None:
        free = [node for node in await self._faults.nodes() if node not in self._busy]
        if not free:
            return
        node = self._chance.choice(free)
        self._busy[node] = None
        self._tell(f"{kind} {node}")
        begin, end = {
            "kill": (self._faults.kill_node, self._faults.start_node),
            "stop": (self._faults.stop_node, self._faults.start_node),
            "freeze": (self._faults.freeze_node, self._faults.thaw_node),
            "partition": (self._faults.partition_node, self._faults.heal_node),
        }[kind]
        await begin(node)
        await asyncio.sleep(self._outage_s())
        await end(node)
        self._tell(f"end of {kind} {node}")
        del self._busy[node]

    async def _crash_container(self) -> None:
        client = self._client
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
