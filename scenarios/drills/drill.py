"""One drill: calm, storm, heal, converge, quiet. A seed gives the same drill, and the same end, each time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from io import StringIO
from typing import TextIO

from broker import log as logging
from broker.chance import Chance
from broker.clock import LoopClock
from broker.supervision import Tasks
from broker.virtualtime import VirtualDeadlock, run_virtual
from cluster.api import kinds
from cluster.api.objects import Key
from scenarios.drills import checkers
from scenarios.drills.checkers import Broken, Promise
from scenarios.drills.convergence import difference
from scenarios.drills.ledger import Ledger
from scenarios.drills.options import Options, draw
from scenarios.drills.storm import Storm
from scenarios.drills.workload import NAMESPACE, Workload
from scenarios.faults import CentralProcess
from scenarios.simulation import SimulatedCluster

LOOK_S = 0.2
CONVERGE_S = 180.0
"""Within this time after the last fault. The fast profile's longest back-off is 15 s."""
SETTLE_S = 5.0
QUIET_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    seed: int
    options: Options
    broken: Broken | None
    story: tuple[str, ...]
    virtual_s: float

    @property
    def ok(self) -> bool:
        return self.broken is None


class _Drill:
    def __init__(self, seed: int, trace: TextIO | None) -> None:
        chance = Chance(seed)
        self.seed = seed
        self.options = draw(chance.fork("options"))
        self.clock = LoopClock(asyncio.get_running_loop())
        self.errors = StringIO()
        log = logging.configure(
            "drill",
            json=True,
            level="error" if trace is None else "debug",
            clock=self.clock,
            stream=self.errors if trace is None else trace,
        )
        self.cluster = SimulatedCluster(
            nodes=self.options.nodes,
            profile=self.options.profile,
            seed=seed,
            clock=self.clock,
            log=log,
            traced=trace is not None,
        )
        self.ledger = Ledger()
        self.availability = checkers.Availability(self.cluster)
        self.quiet = checkers.Quiet()
        self.watchdog = checkers.Watchdog(
            [
                checkers.Revisions(),
                checkers.RestartCounts(),
                checkers.RunsOnce(self.cluster),
                checkers.Acknowledged(self.cluster, self.ledger),
                self.availability,
                self.quiet,
            ]
        )
        self.cluster.subscribe(self.watchdog.changed)
        self.workload = Workload(self.cluster.client(), self.ledger, chance.fork("workload"))
        self.storm = Storm(
            self.cluster,
            self._outage,
            self.cluster.client("chaos"),
            clock=self.clock,
            options=self.options,
            chance=chance.fork("storm"),
        )

    async def play(self) -> Outcome:
        broken: Broken | None = None
        try:
            await self.cluster.start()
            await self._calm()
            await self._rage()
            await self._converge()
            await self._be_quiet()
        except Broken as error:
            broken = error
        if broken is None and self.errors.getvalue():
            broken = Broken(Promise.SOUND, self.errors.getvalue().splitlines()[0])
        virtual_s = self.clock.monotonic()
        await self.cluster.stop()
        return Outcome(
            seed=self.seed,
            options=self.options,
            broken=broken,
            story=tuple(self.storm.story),
            virtual_s=virtual_s,
        )

    async def _outage(self, which: CentralProcess, length_s: float) -> None:
        if which == "broker":
            self.cluster.crash_broker()
            await asyncio.sleep(length_s)
            self.cluster.restart_broker()
        else:
            await self.cluster.kill_control_plane()
            await asyncio.sleep(length_s)
            await self.cluster.start_control_plane()

    async def _calm(self) -> None:
        """A deployment is rolled out, and over, while nothing fails."""
        name = await self.workload.create(replicas=4, stateful=False)
        await self._until_converged("the first rollout")
        self.availability.watch(Key(NAMESPACE, name))
        await self.workload.roll(kinds.DEPLOYMENTS, name)
        await self._until_converged("a rollout in calm weather")
        self.availability.watch(None)

    async def _rage(self) -> None:
        tasks = Tasks()
        self.cluster.disturb(self.options.noise)
        storm = tasks.start("storm", self.storm.rage())
        tasks.start("workload", self.workload.run(self.options.pause_s))
        try:
            while not storm.done():
                await self._look()
        finally:
            await tasks.close()
        await tasks.failed()
        self.cluster.disturb(())
        await self.storm.heal()

    async def _look(self) -> None:
        await asyncio.sleep(LOOK_S)
        self.watchdog.look()

    async def _converge(self) -> None:
        await self._until_converged("the storm")

    async def _until_converged(self, after: str) -> None:
        deadline = self.clock.monotonic() + CONVERGE_S
        while why := difference(self.cluster):
            if self.clock.monotonic() > deadline:
                raise Broken(Promise.CONVERGED, f"{CONVERGE_S:g} s after {after}: {why}")
            await self._look()

    async def _be_quiet(self) -> None:
        await asyncio.sleep(SETTLE_S)
        self.quiet.begin()
        await asyncio.sleep(QUIET_S)
        self.watchdog.look()
        self.quiet.check()


async def _drill(seed: int, trace: TextIO | None) -> Outcome:
    return await _Drill(seed, trace).play()


def drill(seed: int, *, trace: TextIO | None = None) -> Outcome:
    """Plays the drill of this seed on virtual time."""
    try:
        return run_virtual(_drill(seed, trace))
    except VirtualDeadlock as deadlock:
        broken = Broken(Promise.SOUND, f"nothing happens any more: {deadlock}")
        options = draw(Chance(seed).fork("options"))
        return Outcome(seed=seed, options=options, broken=broken, story=(), virtual_s=0.0)
