"""Clusters of real processes to measure, and what is asked of them between measurements."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from broker.clock import SystemClock
from cluster.api import kinds
from cluster.api.objects import condition_of
from cluster.server.remote import RemoteClient
from scenarios.launch.cluster import ClusterSpec, LocalCluster
from scenarios.launch.place import TemporaryPlace

CLOCK = SystemClock()
POLL_S = 0.05
PATIENCE_S = 600.0


@asynccontextmanager
async def running_cluster(spec: ClusterSpec) -> AsyncIterator[tuple[LocalCluster, RemoteClient]]:
    """A cluster with all nodes Ready."""
    place = TemporaryPlace()
    cluster = LocalCluster(spec, place.path, progress=lambda _: None)
    try:
        await cluster.start()
        async with RemoteClient.from_kubeconfig(cluster.kubeconfig) as client:
            await until(lambda: _ready_nodes(client, spec.nodes), period_s=0.02)
            yield cluster, client
    finally:
        await cluster.stop()
        place.close()


async def _ready_nodes(client: RemoteClient, wanted: int) -> bool:
    nodes = (await client.list(kinds.NODES)).items
    conditions = [condition_of(node, "Ready") for node in nodes]
    return len([c for c in conditions if c is not None and c["status"] == "True"]) >= wanted


async def until(test: Callable[[], Awaitable[bool]], *, period_s: float = POLL_S) -> None:
    deadline = CLOCK.monotonic() + PATIENCE_S
    while not await test():
        if CLOCK.monotonic() > deadline:
            raise TimeoutError(f"not there after {PATIENCE_S:g} s")
        await asyncio.sleep(period_s)


def memory_mb(cluster: LocalCluster) -> float:
    """Proportional set size of all processes, as the kernel accounts it."""
    return sum(_pss_kb(record.pid) for record in cluster.records()) / 1024


def cpu_s(cluster: LocalCluster) -> float:
    """Processor time that all processes have used: what a loaded machine does not change."""
    ticks = 0
    for record in cluster.records():
        fields = Path(f"/proc/{record.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _pss_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
