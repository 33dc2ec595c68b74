"""SIGKILL of any one process in the middle of a rollout; wrong messages at the broker. On real processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import scenarios
from broker import topics
from broker.chance import Chance
from broker.message import Envelope, encode
from broker.supervision import Tasks
from broker.transport.mqtt import MqttTransport
from cluster.api import kinds, wire
from cluster.api.errors import ServiceUnavailable
from scenarios.document import Comparison, Seconds
from scenarios.drill import Drill
from scenarios.launch.cluster import LocalCluster
from scenarios.launch.testing import running_cluster
from scenarios.steps import Expect

pytestmark = pytest.mark.services

MANIFESTS = Path(scenarios.__file__).parent / "manifests"
ALL_READY = Expect(
    pods="app=web", ready=True, terminating=False, count=Comparison("==", 6), within=Seconds(90)
)


async def _agent(drill: Drill) -> None:
    await drill.kill("2")
    await asyncio.sleep(0.3)
    await drill.start("2")


async def _broker(drill: Drill) -> None:
    await drill.bounce("broker")


async def _controller_manager(drill: Drill) -> None:
    await drill.bounce("controller-manager")


@pytest.mark.parametrize("moment_s", [0.1, 0.8])
@pytest.mark.parametrize("kill", [_agent, _broker, _controller_manager], ids=lambda f: f.__name__.strip("_"))
async def test_killed_in_a_rollout(kill: Callable[[Drill], Awaitable[None]], moment_s: float) -> None:
    """It is started again, and the rollout completes as if nothing had been."""
    async with running_cluster(nodes=3, profile="fast", directory=MANIFESTS) as drill:
        await drill.apply("web.yaml")
        await drill.rollout("deployment/web", within_s=60)
        await drill.restart("deployment/web")
        await asyncio.sleep(moment_s)
        await kill(drill)
        await drill.rollout("deployment/web", within_s=90)
        await drill.expect(ALL_READY)
        for node in ("1", "2", "3"):
            await drill.expect(Expect(node=node, condition={"Ready": "True"}, within=Seconds(30)))


async def test_acknowledged_writes_survive_the_controller_manager() -> None:
    """A client writes without pause while it is killed: what was answered is there afterwards."""
    async with running_cluster(nodes=1, profile="fast") as drill:
        acknowledged: dict[str, str] = {}
        killed = asyncio.Event()

        async def write() -> None:
            number = 0
            while not killed.is_set():
                name = f"c-{number}"
                body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
                try:
                    made = await drill.client.create(kinds.CONFIG_MAPS, body, namespace="default")
                except ServiceUnavailable:
                    return
                acknowledged[name] = made["metadata"]["resourceVersion"]
                number += 1

        async def kill() -> None:
            await asyncio.sleep(0.5)
            await drill.bounce("controller-manager")
            killed.set()

        tasks = Tasks()
        writing = tasks.start("writing", write())
        await kill()
        await writing
        await tasks.close()
        assert len(acknowledged) > 20
        found = await drill.client.list(kinds.CONFIG_MAPS, namespace="default")
        versions = {obj["metadata"]["name"]: obj["metadata"]["resourceVersion"] for obj in found.items}
        assert {name: versions.get(name) for name in acknowledged} == acknowledged
        assert int(found.revision) >= max(map(int, acknowledged.values()))


async def test_wrong_messages_harm_nothing() -> None:
    """Bytes that are no message, and messages of a node that nobody knows: a log line, and life goes on."""
    async with running_cluster(nodes=1, profile="fast", directory=MANIFESTS) as drill:
        cluster = drill.faults
        assert isinstance(cluster, LocalCluster)
        stranger = MqttTransport(
            cluster.broker_url, client_id="stranger", username=topics.CONTROL_USER,
            password=cluster.password(topics.CONTROL_USER), chance=Chance(1),
        )  # fmt: skip
        await stranger.open()
        name = cluster.spec.name
        beat = wire.Heartbeat(epoch="e", session="s", applied=1, conditions=[])
        unknown = encode([Envelope(id="x-1", cause="", reply_to="", body=beat)])
        for topic in (topics.node_down(name, "node-1"), topics.node_up(name, "node-1")):
            stranger.publish(topic, b"\x93no message")
            stranger.publish(topic, b"")
        stranger.publish(topics.node_down(name, "node-1"), unknown)
        stranger.publish(topics.node_up(name, "nobody"), unknown)
        stranger.publish(topics.node_down(name, "nobody"), unknown)
        await asyncio.sleep(1)
        await stranger.close()
        await drill.apply("web.yaml")
        await drill.rollout("deployment/web", within_s=60)
        for process in ("controller-manager", "node-1"):
            log = (cluster.directory / "logs" / f"{process}.log").read_text()
            assert "malformed message" in log, process
