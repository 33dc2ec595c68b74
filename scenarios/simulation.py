"""A whole cluster in one process, on virtual time, from a seed.

The same controller manager and the same agents as in real processes, wired to the memory transport and
the memory network instead of MQTT and sockets, and the same scenario files. Every log line of every part
goes to one trace: same seed, same scenario, same bytes.

Divergence: freezing a simulated machine cuts its links and holds what its pods would answer; its own
timers go on, where a suspended process has none.
"""

from __future__ import annotations

import asyncio
from typing import TextIO

from structlog.typing import FilteringBoundLogger

from agents.app import AgentNode, build_node
from agents.behaviour import load_library
from agents.memorynetwork import MemoryNetwork
from agents.settings import Machine
from broker import log as logging
from broker.chance import Chance
from broker.clock import Clock, LoopClock
from broker.rules import LinkRules, Rule, Verdict
from broker.topics import CONTROL_USER
from broker.transport.memory import MemoryBroker, MemoryLink
from broker.virtualtime import run_virtual
from cluster.api.registry import Registry
from cluster.api.timings import PROFILES
from cluster.app import ControlPlane
from cluster.settings import Settings
from cluster.store.journal.memory import MemoryJournal
from scenarios.drill import Drill
from scenarios.faults import CentralProcess, FaultError
from scenarios.play import Audience, Report, play
from scenarios.steps import Scenario

CLUSTER = "sim"
CLUSTER_CIDR = "10.244.0.0/14"
SERVICE_CIDR = "10.96.0.0/16"
RESTART_S = 0.5
"""How long a killed controller manager or broker is away."""


class _Machine:
    """One simulated machine: switched on or off, with its links."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.running: AgentNode | None = None
        self.link: MemoryLink | None = None


class SimulatedCluster:
    """`Faults` of a simulation. Use within a running virtual-time loop."""

    def __init__(
        self, *, nodes: int, profile: str, seed: int, clock: Clock, log: FilteringBoundLogger
    ) -> None:
        self._settings = Settings(
            cluster=CLUSTER, profile=profile, cluster_cidr=CLUSTER_CIDR, service_cidr=SERVICE_CIDR
        )
        self._clock = clock
        self._chance = Chance(seed)
        self._log = log
        self._broker = MemoryBroker(self._chance.fork("broker"))
        self._network = MemoryNetwork(self._chance.fork("network"))
        self._rules = LinkRules()
        self._cut: dict[str, None] = {}
        self._library = load_library()
        self._journal = MemoryJournal()
        self._machines = {f"node-{n}": _Machine(f"node-{n}") for n in range(1, nodes + 1)}
        self._generation = 0
        self.plane = self._control_plane()

    def _control_plane(self) -> ControlPlane:
        self._generation += 1
        self._control_link = self._broker.link(CONTROL_USER, self._rules)
        return ControlPlane(
            self._settings,
            clock=self._clock,
            chance=self._chance.fork(f"control/{self._generation}"),
            transport=self._control_link,
            journal=self._journal,
            log=self._log,
            verify=True,
        )

    async def start(self) -> None:
        await self.plane.start()
        for name in self._machines:
            await self.start_node(name)

    async def stop(self) -> None:
        for machine in self._machines.values():
            if machine.running is not None:
                await machine.running.stop()
        await self.plane.stop()

    # --- faults

    def _machine(self, node: str) -> _Machine:
        if node not in self._machines:
            raise FaultError(f"there is no node {node!r}")
        return self._machines[node]

    def _running(self, node: str) -> tuple[_Machine, AgentNode]:
        machine = self._machine(node)
        if machine.running is None:
            raise FaultError(f"{node} does not run")
        return machine, machine.running

    async def nodes(self) -> list[str]:
        return list(self._machines)

    async def kill_node(self, node: str) -> None:
        machine, agent = self._running(node)
        self._broker.kill(node)
        machine.running = None
        await agent.kill()

    async def stop_node(self, node: str) -> None:
        machine, agent = self._running(node)
        machine.running = None
        await agent.stop()

    async def start_node(self, node: str) -> None:
        machine = self._machine(node)
        if machine.running is not None:
            raise FaultError(f"{node} runs already")
        machine.link = self._broker.link(node, self._rules)
        machine.running = build_node(
            node,
            cluster=CLUSTER,
            transport=machine.link,
            network=self._network,
            library=self._library,
            machine=Machine(),
            timings=PROFILES[self._settings.profile],
            clock=self._clock,
            chance=self._chance.fork(f"node/{node}"),
            log=self._log,
        )
        await machine.running.start()

    async def freeze_node(self, node: str) -> None:
        self._running(node)
        await self.partition_node(node)

    async def thaw_node(self, node: str) -> None:
        await self.heal_node(node)

    async def partition_node(self, node: str) -> None:
        self._machine(node)
        self._cut[node] = None
        self._apply_rules()

    async def heal_node(self, node: str) -> None:
        self._cut.pop(node, None)
        self._apply_rules()

    def _apply_rules(self) -> None:
        self._rules.replace([Rule(verdict=Verdict.CUT, sender=node) for node in self._cut])

    async def bounce(self, process: CentralProcess) -> None:
        if process == "broker":
            self._broker.crash()
            await asyncio.sleep(RESTART_S)
            self._broker.restart()
            return
        self._broker.kill(CONTROL_USER)
        await self.plane.stop()
        await asyncio.sleep(RESTART_S)
        self.plane = self._control_plane()
        await self.plane.start()


async def _simulate(scenario: Scenario, seed: int, trace: TextIO, audience: Audience) -> Report:
    clock = LoopClock(asyncio.get_running_loop())
    log = logging.configure("controller-manager", json=True, level="info", clock=clock, stream=trace)
    cluster = SimulatedCluster(
        nodes=scenario.cluster.nodes, profile=scenario.cluster.profile, seed=seed, clock=clock, log=log
    )
    await cluster.start()
    try:
        drill = Drill(
            cluster.plane.client("kubernetes-admin"),
            cluster,
            clock=clock,
            registry=Registry(),
            directory=scenario.file.parent,
        )
        return await play(scenario, drill, clock, audience)
    finally:
        await cluster.stop()


def simulate(scenario: Scenario, *, seed: int, trace: TextIO, audience: Audience) -> Report:
    """Plays the scenario on a simulated cluster; the trace gets every log line, as JSON."""
    return run_virtual(_simulate(scenario, seed, trace, audience))
