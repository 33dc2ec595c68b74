"""Requests to a pod directly and through its Service: how many per second, and what the way costs.

Every request has a connection of its own, because a Service chooses an endpoint per connection: that is its
dearest case. The caller is a process of its own, `python -m tests.bench.traffic HOST PORT REQUESTS LANES`,
which prints seconds and the median milliseconds of a request.
"""

from __future__ import annotations

import asyncio
import sys
import time

from cluster.api import kinds
from cluster.server.remote import RemoteClient
from scenarios.launch.cluster import ClusterSpec
from scenarios.rollouts import progress
from tests.bench.client import Request
from tests.bench.running import running_cluster, until
from tests.bench.services import NAMESPACE, service
from tests.bench.workloads import CONTAINER, deployment

NAME = "traffic"
PORT = 8080
PODS = 6
REQUESTS = 4000
LANES = 16


async def traffic() -> dict[str, float]:
    """Six pods on three nodes, each node a process."""
    async with running_cluster(ClusterSpec(name="bench-traffic", nodes=3)) as (_, client):
        address = await _serving(client)
        pods = (await client.list(kinds.PODS, namespace=NAMESPACE, label_selector=f"app={NAME}")).items
        figures: dict[str, float] = {}
        medians = {}
        for way, host in (("a pod", pods[0]["status"]["podIP"]), ("its Service", address)):
            await _call(host, 200, 1)  # what is made at the first connection is not measured
            took_s, _ = await _call(host, REQUESTS, LANES)
            _, medians[way] = await _call(host, REQUESTS // 8, 1)
            figures[f"requests to {way} [1/s]"] = REQUESTS / took_s
            figures[f"request to {way}, one at a time [ms]"] = medians[way]
        figures["added by the Service [ms]"] = medians["its Service"] - medians["a pod"]
        return figures


async def _serving(client: RemoteClient) -> str:
    """The ClusterIP, once all pods are ready."""
    body = deployment(NAME, PODS)
    probe = {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1}
    serving = {"image": "nginx:1.27", "ports": [{"containerPort": PORT}], "readinessProbe": probe}
    body["spec"]["template"]["spec"]["containers"] = [{**CONTAINER, **serving}]
    made = await client.create(kinds.SERVICES, service(NAME, {"app": NAME}, PORT), namespace=NAMESPACE)
    await client.create(kinds.DEPLOYMENTS, body, namespace=NAMESPACE)

    async def available() -> bool:
        done, _ = progress(await client.get(kinds.DEPLOYMENTS, NAME, namespace=NAMESPACE))
        return done

    await until(available)
    await asyncio.sleep(1.0)  # until every proxy knows them
    address: str = made["spec"]["clusterIP"]
    return address


async def _call(host: str, requests: int, lanes: int) -> tuple[float, float]:
    caller = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.traffic", host, str(PORT), str(requests), str(lanes),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    answer, _ = await caller.communicate()
    if caller.returncode != 0:
        raise RuntimeError(f"the caller of {host} failed")
    took_s, median_ms = answer.split()
    return float(took_s), float(median_ms)


# --- the caller


async def _play(host: str, port: int, requests: int, lanes: int) -> tuple[float, float]:
    from broker.supervision import Tasks

    wire = Request("GET", "/", headers={"Connection": "close"}).wire()
    waiting, took_ms = requests, []

    async def lane() -> None:
        nonlocal waiting
        while waiting > 0:
            waiting -= 1
            began = time.perf_counter()
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(wire)
            answer = await reader.read()
            writer.close()
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(repr(answer[:200]))
            took_ms.append(1000 * (time.perf_counter() - began))

    tasks = Tasks()
    began = time.perf_counter()
    for task in [tasks.start(f"lane-{number}", lane()) for number in range(lanes)]:
        await task
    return time.perf_counter() - began, sorted(took_ms)[len(took_ms) // 2]


def main() -> None:
    import uvloop

    host, *numbers = sys.argv[1:]
    port, requests, lanes = map(int, numbers)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(*runner.run(_play(host, port, requests, lanes)))


if __name__ == "__main__":
    main()
