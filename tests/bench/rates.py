"""The API by itself: rates of single requests, and how fast a write reaches many watchers."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Mapping
from pathlib import Path

from scenarios.launch.cluster import ClusterSpec, LocalCluster
from tests.bench.client import Request, rate
from tests.bench.running import cpu_s, running_cluster

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
OBJECTS = 3000
LANES = 16
READERS = 2
READS = 150
"""Of each reader."""
WATCHERS = 100
WATCHED_WRITES = 500
GZIP = {"Accept-Encoding": "gzip"}
MERGE = {"Content-Type": "application/merge-patch+json"}


async def request_rates() -> dict[str, float]:
    """On an idle cluster with the SQLite journal."""
    async with running_cluster(ClusterSpec(name="bench-api", nodes=1)) as (cluster, _):
        creates = [Request("POST", MAPS, config_map(f"c{n}")) for n in range(OBJECTS)]
        gets = [Request("GET", f"{MAPS}/c{n % OBJECTS}") for n in range(6000)]
        patches = [
            Request("PATCH", f"{MAPS}/c{n}", json.dumps({"data": {"k": "w"}}), MERGE) for n in range(OBJECTS)
        ]
        figures: dict[str, float] = {}
        for what, requests in (("create", creates), ("GET", gets), ("patch", patches)):
            work = rate(cluster.kubeconfig, requests, lanes=LANES)
            figures |= await _with_cost(cluster, what, work, len(requests))
        figures[f"{WATCHERS} watchers' fan-out [events/s]"] = await fan_out(cluster.kubeconfig)
        return figures


async def _with_cost(
    cluster: LocalCluster, what: str, work: Awaitable[float], requests: int
) -> dict[str, float]:
    """The rate, and what a request costs all processes of the cluster."""
    before_s = cpu_s(cluster)
    found = {f"{what} [1/s]": await work}
    found[f"{what}, CPU time of all processes [ms]"] = 1000 * (cpu_s(cluster) - before_s) / requests
    return found


def config_map(name: str) -> str:
    metadata = {"name": name}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": "v"}})


async def list_rates(cluster: LocalCluster) -> dict[str, float]:
    """Of the thousand pods that are there."""
    figures: dict[str, float] = {}
    for what, headers in (("LIST of 1000 pods", {}), ("LIST of 1000 pods, gzip", GZIP)):
        work = _bulk(cluster.kubeconfig, PODS, headers)
        figures |= await _with_cost(cluster, what, work, READERS * READS)
    return figures


async def _bulk(kubeconfig: Path, path: str, headers: Mapping[str, str]) -> float:
    """Answers per second to readers that ask one after the other."""
    given = [each for pair in headers.items() for each in pair]
    readers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.bulk", str(kubeconfig), path, str(READS), *given,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(READERS)
    ]  # fmt: skip
    longest_s = 0.0
    for reader in readers:
        answer, _ = await reader.communicate()
        if reader.returncode != 0:
            raise RuntimeError("the reader failed")
        longest_s = max(longest_s, float(answer))
    return READERS * READS / longest_s


async def fan_out(kubeconfig: Path) -> float:
    """Events per second that reach all watchers together, from the first write to the last arrival."""
    watchers = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.watchers", str(kubeconfig), str(WATCHERS), str(WATCHED_WRITES),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert watchers.stdout is not None
    await watchers.stdout.readline()
    writes = [Request("POST", MAPS, config_map(f"watched-{n}")) for n in range(WATCHED_WRITES)]
    await rate(kubeconfig, writes, lanes=LANES)
    took_s = float(await watchers.stdout.read())
    if await watchers.wait() != 0:
        raise RuntimeError("the watchers failed")
    return WATCHERS * WATCHED_WRITES / took_s
