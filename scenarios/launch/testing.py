"""A cluster of real processes for a test or a script, with a `Drill` to drive it.

async with running_cluster(nodes=3, profile="fast") as drill:
    await drill.apply("web.yaml")
    await drill.rollout("deployment/web", within_s=60)
    await drill.kill("2")
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agents.loopback import LoopbackNetwork
from broker.clock import SystemClock
from cluster.api.registry import Registry
from cluster.server.remote import RemoteClient
from scenarios.document import Seconds
from scenarios.drill import Drill
from scenarios.launch.cluster import ClusterSpec, LocalCluster
from scenarios.launch.place import TemporaryPlace
from scenarios.load import NetworkSender
from scenarios.steps import Expect

NODES_WITHIN_S = Seconds(60.0)


@asynccontextmanager
async def running_cluster(
    *, nodes: int = 3, profile: str = "fast", directory: Path | None = None
) -> AsyncIterator[Drill]:
    """Starts a cluster, waits until its nodes are Ready, and removes every trace of it at the end.

    `drill.client` is an `ApiClient` for everything that has no method of its own; `directory` is where
    the manifests' paths start, the current one if it is not given. Raises LaunchError.
    """
    place = TemporaryPlace()
    cluster = LocalCluster(
        ClusterSpec(name="test", nodes=nodes, profile=profile), place.path, progress=_quiet
    )
    try:
        await cluster.start()
        async with RemoteClient.from_kubeconfig(cluster.kubeconfig) as client:
            clock = SystemClock()
            drill = Drill(
                client,
                cluster,
                clock=clock,
                registry=Registry(),
                directory=directory or Path.cwd(),
                sender=NetworkSender(LoopbackNetwork(), clock),
            )
            for name in await cluster.nodes():
                ready = Expect(node=name, condition={"Ready": "True"}, within=NODES_WITHIN_S)
                await drill.expect(ready)
            yield drill
    finally:
        await cluster.stop()
        place.close()


def _quiet(_: str) -> None:
    """Tests say nothing while all goes well."""
