"""A whole cluster in one process, on virtual time, from a seed.

The same controller manager and the same agents as in real processes, wired to the memory transport and
the memory network instead of MQTT and sockets, and the same scenario files. Every log line of every part,
every change of the store and every packet goes to one trace: same seed, same scenario, same bytes.

A killed controller manager is cut off from everything it could still reach (link, disk, clients) before
its actors are ended: what they do on their way out is seen by nobody. The next one starts from what the
disk has.

A frozen machine is held by the loop: its timers, its pods and what it receives wait until it is thawed, and
the broker misses its keep-alive, as with a suspended process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import TextIO

from structlog.typing import FilteringBoundLogger

from agents.app import AgentNode, build_node
from agents.behaviour import load_library
from agents.memorynetwork import MemoryNetwork
from agents.settings import Machine
from agents.shelf import Shelf
from broker import log as logging
from broker.chance import Chance
from broker.clock import Clock, LoopClock
from broker.rules import LinkRules, Rule, Verdict
from broker.topics import CONTROL_USER
from broker.transport.memory import MemoryBroker, MemoryLink
from broker.virtualtime import VirtualTimeLoop, acting, run_virtual
from cluster.api.registry import Registry
from cluster.api.timings import PROFILES
from cluster.app import ControlPlane
from cluster.settings import Settings
from cluster.store.journal.disk import Disk
from cluster.store.store import Subscriber
from scenarios.drill import Drill
from scenarios.faults import CentralProcess, FaultError
from scenarios.load import NetworkSender
from scenarios.play import Audience, Report, play
from scenarios.simulated_client import Front, SimulatedClient
from scenarios.steps import Scenario
from scenarios.trace import trace_changes, trace_packets

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
        self.frozen = False
        self.starts = 0


class SimulatedCluster:
    """`Faults` of a simulation. Use within a running virtual-time loop."""

    def __init__(
        self,
        *,
        nodes: int,
        profile: str,
        seed: int,
        clock: Clock,
        log: FilteringBoundLogger,
        machine: Machine | None = None,
        traced: bool = False,
    ) -> None:
        """`traced`: changes and packets are logged too, at debug level."""
        self.settings = Settings(
            cluster=CLUSTER, profile=profile, cluster_cidr=CLUSTER_CIDR, service_cidr=SERVICE_CIDR
        )
        self.clock = clock
        self._chance = Chance(seed)
        self._log = log
        self._size = machine if machine is not None else Machine()
        self._subscribers: list[Subscriber] = []
        self._broker = MemoryBroker(self._chance.fork("broker"))
        if traced:
            self._subscribers.append(trace_changes(log))
            self._broker.on_publish = trace_packets(log)
        self.network = MemoryNetwork(self._chance.fork("network"))
        self._shelf = Shelf()
        self._rules = LinkRules()
        self._noise: list[Rule] = []
        self._cut: dict[str, None] = {}
        self._library = load_library()
        self._disk = Disk(self._chance.fork("disk"))
        self._front = Front()
        self._machines = {f"node-{n}": _Machine(f"node-{n}") for n in range(1, nodes + 1)}
        self._generation = 0
        self.plane = self._control_plane()

    def _control_plane(self) -> ControlPlane:
        self._generation += 1
        self._journal = self._disk.journal()
        plane = ControlPlane(
            self.settings,
            clock=self.clock,
            chance=self._chance.fork(f"control/{self._generation}"),
            transport=self._broker.link(CONTROL_USER, self._rules),
            journal=self._journal,
            log=self._log,
            verify=True,
        )
        for subscriber in self._subscribers:
            plane.store.subscribe(subscriber)
        return plane

    def client(self, user: str = "kubernetes-admin") -> SimulatedClient:
        """The API, as a client outside sees it."""
        return SimulatedClient(self._front, user)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Every published change, of this controller manager and of those after it."""
        self._subscribers.append(subscriber)
        self.plane.store.subscribe(subscriber)

    async def start(self) -> None:
        await self.plane.start()
        self._front.open(self.plane)
        for name in self._machines:
            await self.start_node(name)

    async def stop(self) -> None:
        for machine in self._machines.values():
            if machine.running is not None:
                self._wake(machine)
                await machine.running.stop()
        self._front.break_off()
        await self.plane.stop()

    # --- for checkers

    @property
    def agents(self) -> Mapping[str, AgentNode]:
        """The machines that are on."""
        return {name: each.running for name, each in self._machines.items() if each.running is not None}

    def off(self) -> Sequence[str]:
        return [name for name, machine in self._machines.items() if machine.running is None]

    def cut_off(self) -> Sequence[str]:
        return list(self._cut)

    def frozen(self) -> Sequence[str]:
        return [name for name, machine in self._machines.items() if machine.frozen]

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
        self._wake(machine)
        machine.running = None
        await agent.kill()

    async def stop_node(self, node: str) -> None:
        machine, agent = self._running(node)
        self._wake(machine)
        machine.running = None
        await agent.stop()

    async def start_node(self, node: str) -> None:
        machine = self._machine(node)
        if machine.running is not None:
            raise FaultError(f"{node} runs already")
        machine.starts += 1
        with acting(node):
            await self._switch_on(machine)

    async def _switch_on(self, machine: _Machine) -> None:
        node = machine.name
        machine.link = self._broker.link(node, self._rules)
        machine.running = build_node(
            node,
            cluster=CLUSTER,
            transport=machine.link,
            network=self.network,
            library=self._library,
            machine=self._size,
            timings=PROFILES[self.settings.profile],
            clock=self.clock,
            chance=self._chance.fork(f"node/{node}/{machine.starts}"),
            log=self._log,
            shelf=self._shelf,
        )
        await machine.running.start()

    async def freeze_node(self, node: str) -> None:
        machine, _ = self._running(node)
        assert machine.link is not None
        machine.frozen = True
        machine.link.freeze()
        _loop().freeze(node)

    async def thaw_node(self, node: str) -> None:
        self._wake(self._machine(node))

    def _wake(self, machine: _Machine) -> None:
        if machine.frozen and machine.link is not None:
            machine.frozen = False
            machine.link.thaw()
            _loop().thaw(machine.name)

    async def partition_node(self, node: str) -> None:
        self._machine(node)
        self._cut[node] = None
        self._apply_rules()

    async def heal_node(self, node: str) -> None:
        self._cut.pop(node, None)
        self._apply_rules()

    def disturb(self, rules: Sequence[Rule]) -> None:
        """Makes the links between the parties bad; no rules make them good again."""
        self._noise = list(rules)
        self._apply_rules()

    def _apply_rules(self) -> None:
        cuts = [Rule(verdict=Verdict.CUT, sender=node) for node in self._cut]
        self._rules.replace([*cuts, *self._noise])

    async def bounce(self, process: CentralProcess) -> None:
        if process == "broker":
            self.crash_broker()
            await asyncio.sleep(RESTART_S)
            self.restart_broker()
            return
        await self.kill_control_plane()
        await asyncio.sleep(RESTART_S)
        await self.start_control_plane()

    def crash_broker(self) -> None:
        self._broker.crash()

    def restart_broker(self) -> None:
        self._broker.restart()

    async def kill_control_plane(self) -> None:
        """As SIGKILL does: nothing more is said, written or answered from this moment on."""
        self._front.break_off()
        self._journal.crash()
        self._broker.kill(CONTROL_USER)
        await self.plane.stop()

    async def start_control_plane(self) -> None:
        self.plane = self._control_plane()
        await self.plane.start()
        self._front.open(self.plane)


def _loop() -> VirtualTimeLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


async def _simulate(scenario: Scenario, seed: int, trace: TextIO | None, audience: Audience) -> Report:
    clock = LoopClock(asyncio.get_running_loop())
    log = logging.configure(
        "controller-manager",
        json=True,
        level="error" if trace is None else "debug",
        clock=clock,
        stream=trace if trace is not None else StringIO(),
    )
    cluster = SimulatedCluster(
        nodes=scenario.cluster.nodes,
        profile=scenario.cluster.profile,
        seed=seed,
        clock=clock,
        log=log,
        traced=trace is not None,
    )
    await cluster.start()
    try:
        drill = Drill(
            cluster.client(),
            cluster,
            clock=clock,
            registry=Registry(),
            directory=scenario.file.parent,
            sender=NetworkSender(cluster.network, clock),
        )
        return await play(scenario, drill, clock, audience)
    finally:
        await cluster.stop()


def simulate(scenario: Scenario, *, seed: int, trace: TextIO | None, audience: Audience) -> Report:
    """Plays the scenario on a simulated cluster; the trace gets every log line, as JSON."""
    return run_virtual(_simulate(scenario, seed, trace, audience))
