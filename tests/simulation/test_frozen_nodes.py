"""A suspended node: nothing of it runs, its pods don't answer, and what it is told waits for it."""

from __future__ import annotations

import asyncio

from simulated import simulate

from cluster.api import kinds
from cluster.api.objects import condition_of
from scenarios.document import Comparison, Seconds
from scenarios.drill import Drill
from scenarios.simulation import SimulatedCluster
from scenarios.steps import Expect

ALL_READY = Expect(pods="app=web", ready=True, count=Comparison("==", 6), within=Seconds(60))


async def _up(drill: Drill) -> None:
    await drill.apply("manifests/web.yaml")
    await drill.expect(ALL_READY)


def test_a_short_freeze_is_seen_by_nobody() -> None:
    async def story(cluster: SimulatedCluster, drill: Drill) -> None:
        await _up(drill)
        before = {
            pod["metadata"]["uid"]: pod["status"] for pod in (await drill.client.list(kinds.PODS)).items
        }
        await cluster.freeze_node("node-2")
        await asyncio.sleep(5)
        await cluster.thaw_node("node-2")
        await asyncio.sleep(30)
        after = {pod["metadata"]["uid"]: pod["status"] for pod in (await drill.client.list(kinds.PODS)).items}
        assert after == before

    simulate(story)


def test_a_frozen_pod_does_not_answer_and_its_node_is_given_up() -> None:
    async def story(cluster: SimulatedCluster, drill: Drill) -> None:
        await _up(drill)
        pods = (await drill.client.list(kinds.PODS)).items
        pod = next(pod for pod in pods if pod["spec"]["nodeName"] == "node-2")
        await cluster.freeze_node("node-2")
        reader, writer = await cluster.network.connect(pod["status"]["podIP"], 8080)
        writer.write(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        try:
            async with asyncio.timeout(20):
                answer = await reader.read(1)
        except TimeoutError:
            answer = b""
        assert answer == b""
        await drill.expect(Expect(node="node-2", condition={"Ready": "Unknown"}, within=Seconds(120)))
        await cluster.thaw_node("node-2")
        assert (await asyncio.wait_for(reader.read(8), 20)).startswith(b"HTTP/1.1")
        await drill.expect(Expect(node="node-2", condition={"Ready": "True"}, within=Seconds(60)))
        node = await drill.client.get(kinds.NODES, "node-2")
        ready = condition_of(node, "Ready")
        assert ready is not None
        assert ready["reason"] == "KubeletReady"

    simulate(story)
