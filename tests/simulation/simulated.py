"""A simulated cluster for tests of long stories."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from io import StringIO
from pathlib import Path

from broker import log as logging
from broker.clock import LoopClock
from broker.virtualtime import run_virtual
from cluster.api.registry import Registry
from scenarios.drill import Drill
from scenarios.simulation import SimulatedCluster

FOLDER = Path(__file__).parents[2] / "scenarios"
Story = Callable[[SimulatedCluster, Drill], Awaitable[None]]


def simulate(story: Story, *, nodes: int = 3, profile: str = "standard", seed: int = 1) -> None:
    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        errors = StringIO()
        log = logging.configure("test", json=True, level="error", clock=clock, stream=errors)
        cluster = SimulatedCluster(nodes=nodes, profile=profile, seed=seed, clock=clock, log=log)
        await cluster.start()
        drill = Drill(cluster.client(), cluster, clock=clock, registry=Registry(), directory=FOLDER)
        try:
            await story(cluster, drill)
        finally:
            await cluster.stop()
        assert errors.getvalue() == ""

    run_virtual(main())
