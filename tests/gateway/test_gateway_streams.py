"""Byte streams through the gateway, and restart orders and events of agents."""

from __future__ import annotations

import asyncio

import pytest
from gatewayed_cluster import FakeAgent, GatewayedCluster, running_status, simulate

from broker.supervision import Tasks
from cluster.api import wire
from cluster.api.errors import BadRequest, InternalError
from cluster.api.objects import Object
from cluster.server.streams import Stream


async def _opened(cluster: GatewayedCluster, agent: FakeAgent, window: int = 10) -> tuple[Object, Stream]:
    pod = await cluster.pod("web", "n1")
    await asyncio.sleep(1)
    tasks = Tasks()
    opening = tasks.start(
        "open", cluster.gateway.open(pod, kind="exec", container="c", options={"tty": False})
    )
    await asyncio.sleep(0.1)
    request = agent.streams.pop()
    assert isinstance(request, wire.StreamOpen)
    assert (request.kind, request.uid, request.options) == ("exec", pod["metadata"]["uid"], {"tty": False})
    agent.tell(wire.StreamOpened(id=request.id, window=window))
    return pod, await opening


def _identity(stream: Stream) -> str:
    identity: str = stream.id  # type: ignore[attr-defined]
    return identity


def test_data_flows_both_ways_within_the_window() -> None:
    async def scenario(cluster: GatewayedCluster) -> None:
        agent = await cluster.agent("n1")
        await asyncio.sleep(1)
        _, stream = await _opened(cluster, agent, window=10)
        agent.tell(wire.StreamData(id=_identity(stream), sequence=0, channel=1, data=b"hello", eof=True))
        assert await stream.receive() == (1, b"hello", True)

        tasks = Tasks()
        sending = tasks.start("send", stream.send(0, b"x" * 25, eof=True))
        await asyncio.sleep(0.1)
        assert sum(len(m.data) for m in agent.streams if isinstance(m, wire.StreamData)) == 10
        assert not sending.done()
        agent.tell(wire.StreamGrant(id=_identity(stream), bytes=100))
        await sending
        await asyncio.sleep(0.1)
        pieces = [m for m in agent.streams if isinstance(m, wire.StreamData)]
        assert b"".join(m.data for m in pieces) == b"x" * 25
        assert [m.sequence for m in pieces] == list(range(len(pieces)))
        assert [m.eof for m in pieces] == [False] * (len(pieces) - 1) + [True]

        agent.tell(wire.StreamClose(id=_identity(stream)))
        assert await stream.receive() is None
        assert stream.error == ""

    simulate(scenario)


def test_a_gap_breaks_the_stream() -> None:
    async def scenario(cluster: GatewayedCluster) -> None:
        agent = await cluster.agent("n1")
        await asyncio.sleep(1)
        _, stream = await _opened(cluster, agent)
        agent.tell(wire.StreamData(id=_identity(stream), sequence=1, channel=1, data=b"late"))
        assert await stream.receive() is None
        assert stream.error == "data was lost on the way"
        with pytest.raises(ConnectionError):
            await stream.send(0, b"x")

    simulate(scenario)


def test_a_refusal_before_the_stream_stands_is_an_api_error() -> None:
    async def scenario(cluster: GatewayedCluster) -> None:
        agent = await cluster.agent("n1")
        await asyncio.sleep(1)
        pod = await cluster.pod("web", "n1")
        await asyncio.sleep(1)
        tasks = Tasks()
        opening = tasks.start("open", cluster.gateway.open(pod, kind="log", container="c", options={}))
        await asyncio.sleep(0.1)
        text = 'container "c" in pod "web" is waiting to start: ContainerCreating'
        agent.tell(wire.StreamClose(id=agent.streams[-1].id, error=text, code=400))
        with pytest.raises(BadRequest, match="is waiting to start"):
            await opening

    simulate(scenario)


def test_a_node_that_does_not_answer_or_vanishes_ends_its_streams() -> None:
    async def scenario(cluster: GatewayedCluster) -> None:
        agent = await cluster.agent("n1")
        await asyncio.sleep(1)
        pod, stream = await _opened(cluster, agent)
        with pytest.raises(InternalError, match="no answer from node n1"):
            await cluster.gateway.open(pod, kind="log", container="c", options={})
        await agent.kill()
        assert await stream.receive() is None
        assert "n1" in stream.error
        unknown = {**pod, "spec": {**pod["spec"], "nodeName": "nowhere"}}
        with pytest.raises(InternalError):
            await cluster.gateway.open(unknown, kind="log", container="c", options={})

    simulate(scenario)


def test_a_failed_probe_is_answered_with_a_restart_order_once_it_makes_sense() -> None:
    async def scenario(cluster: GatewayedCluster) -> None:
        agent = await cluster.agent("n1")
        await asyncio.sleep(1)
        pod = await cluster.pod("web", "n1")
        await asyncio.sleep(1)
        uid = pod["metadata"]["uid"]

        def fail(count: int, container: str = "c") -> None:
            agent.tell(
                wire.ProbeFailed(
                    epoch="e1",
                    uid=uid,
                    container=container,
                    probe="liveness",
                    restart_count=count,
                    message="down",
                )
            )

        fail(0)
        await asyncio.sleep(0.1)
        assert [(order.container, order.expected_restart_count) for order in agent.orders] == [("c", 0)]
        agent.outbox.report(uid, "default", "web", running_status(restarts=1))
        agent.send()
        await asyncio.sleep(0.5)
        fail(0)
        fail(1, "other")
        await asyncio.sleep(0.1)
        assert len(agent.orders) == 1, "an instance that is gone, a container that is not there"

    simulate(scenario)


def test_what_an_agent_tells_twice_is_one_event_counted_twice() -> None:
    async def scenario(cluster: GatewayedCluster) -> None:
        agent = await cluster.agent("n1")
        await asyncio.sleep(1)
        pod = await cluster.pod("web", "n1")
        await asyncio.sleep(1)
        event = wire.AgentEvent(
            epoch="e1",
            uid=pod["metadata"]["uid"],
            type="Warning",
            reason="Unhealthy",
            message="Liveness probe failed",
            field_path="spec.containers{c}",
        )
        for _ in range(2):
            agent.tell(event)
            await asyncio.sleep(1)
        found = [
            e.object for e in cluster.store.list("events", "default") if e.object["reason"] == "Unhealthy"
        ]
        assert len(found) == 1
        assert (found[0]["count"], found[0]["source"]) == (2, {"component": "kubelet", "host": "n1"})
        assert found[0]["involvedObject"]["fieldPath"] == "spec.containers{c}"
        for _ in range(50):
            agent.tell(
                wire.AgentEvent(epoch="e1", uid=event.uid, type="Normal", reason="Pulled", message="again")
            )
        await asyncio.sleep(1)
        found = [e.object for e in cluster.store.list("events", "default") if e.object["reason"] == "Pulled"]
        assert found[0]["count"] == 23, "25 at once, two of which were spent"

    simulate(scenario)
