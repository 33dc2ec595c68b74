"""What all nodes are told alike: numbered, spaced under load, healed by snapshots, read by one link."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import structlog
from gatewayed_cluster import CLUSTER, GatewayedCluster, simulate

from agents.clusterview import ClusterView
from agents.sharedstate import SharedState
from broker import topics
from broker.message import Envelope
from broker.remote import Peer, receive
from broker.rules import Rule, Verdict
from cluster.api import kinds, wire
from cluster.api.client import EventType
from cluster.api.objects import Key, Object
from cluster.api.timings import FAST
from cluster.server.gateway.sharing import WINDOW_MAX_S, Sharing
from cluster.store.entry import Change, Entry
from cluster.store.journal.memory import MemoryJournal
from cluster.store.store import Store

SLICES = "endpointslices.discovery.k8s.io"


def named(kind: str, name: str, version: int = 1) -> Object:
    meta = {"name": name, "namespace": "default", "uid": f"u-{name}", "resourceVersion": str(version)}
    return {"kind": kind, "metadata": meta}


def change(qualified: str, obj: Object, revision: int, type_: EventType = EventType.MODIFIED) -> Change:
    key = Key(obj["metadata"]["namespace"], obj["metadata"]["name"])
    return Change(type_, Entry(qualified, key, obj, revision), None, "")


def service(name: str, size: int = 0) -> Object:
    meta = {"name": name, "namespace": "default", "annotations": {"size": "x" * size}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [{"port": 80}]}}


class Sent:
    """Who was sent how many messages of which kind."""

    def __init__(self, cluster: GatewayedCluster) -> None:
        self.kinds: list[str] = []
        link = cluster.broker.link("watcher")
        receive(link, f"kubemu/{CLUSTER}/#", self._take)
        self.link = link

    def _take(self, _: str, envelope: Envelope) -> None:
        self.kinds.append(type(envelope.body).__name__)


async def test_a_busy_slice_is_told_more_and_more_seldom_a_quiet_one_at_once() -> None:
    """A change every 50 ms for 10 s is told about once per second in the end; Services never wait."""
    sharing, told = Sharing(Store(MemoryJournal(), clock=_Clock()), "i"), []
    for tick in range(200):
        now = tick * 0.05
        sharing.apply(change(SLICES, named("EndpointSlice", "busy", tick), tick), now)
        told += [now for _ in sharing.take(now)]
    assert told[0] == 0.0
    assert 10 <= len(told) <= 20
    assert max(after - before for before, after in itertools.pairwise(told)) <= WINDOW_MAX_S + 0.1
    sharing.apply(change("services", named("Service", "web"), 300), now)
    assert len(sharing.take(now)) == 1
    now += 10
    sharing.take(now)
    sharing.apply(change(SLICES, named("EndpointSlice", "busy", 301), 301), now + 5)
    assert len(sharing.take(now + 5)) == 1


async def test_the_last_word_of_a_burst_is_what_is_told() -> None:
    sharing, state = Sharing(Store(MemoryJournal(), clock=_Clock()), "i"), SharedState()
    state.ask("r")
    for part in sharing.snapshot("r"):
        state.snapshot(part)
    for version in range(1, 5):
        sharing.apply(change(SLICES, named("EndpointSlice", "a", version), version), 0.0)
    sharing.apply(change(SLICES, named("EndpointSlice", "b"), 9), 0.0)
    sharing.apply(change(SLICES, named("EndpointSlice", "b"), 10, EventType.DELETED), 0.0)
    for now in (0.0, 5.0):
        for message in sharing.take(now):
            state.delta(message)
    assert [o["metadata"]["resourceVersion"] for o in state.of_kind("EndpointSlice")] == ["4"]


def test_deltas_that_overtake_their_snapshot_follow_it() -> None:
    state = SharedState()
    state.ask("r1")
    delta = wire.Shared(instance="i", sequence=3, texts=[text("Service", "new")], removed=[])
    assert state.delta(delta) == []
    first = wire.SharedSnapshot(
        request="r1", instance="i", sequence=2, part=0, more=True, texts=[text("Service", "a")]
    )
    assert state.snapshot(first) == []
    assert not state.synced
    last = wire.SharedSnapshot(
        request="r1", instance="i", sequence=2, part=1, more=False, texts=[text("Service", "b")]
    )
    assert [name for _, _, name in state.snapshot(last)] == ["a", "b", "new"]
    assert (state.sequence, state.stale) == (3, False)
    state.mark(wire.SharedMark(instance="i", sequence=4))
    assert state.stale
    state.ask("r2")
    assert state.snapshot(last) == [], "an answer to an older question"


def text(kind: str, name: str) -> str:
    return f'{{"kind":"{kind}","metadata":{{"namespace":"default","name":"{name}"}}}}'


def test_a_change_is_published_once_for_all_nodes() -> None:
    async def scenario(cluster: GatewayedCluster) -> None:
        agents = [await cluster.agent(f"n{i}") for i in range(5)]
        sent = Sent(cluster)
        await sent.link.open()
        await asyncio.sleep(1)
        sent.kinds.clear()
        await cluster.client.create(kinds.SERVICES, service("web"))
        await asyncio.sleep(1)
        assert all(agent.view.lookup("Service", "default", "web") for agent in agents)
        assert sent.kinds.count("Shared") == 1
        assert "Desired" not in sent.kinds
        await sent.link.close()

    simulate(scenario)


def test_a_snapshot_of_many_packets_arrives_whole() -> None:
    async def scenario(cluster: GatewayedCluster) -> None:
        for number in range(12):
            await cluster.client.create(kinds.SERVICES, service(f"s{number}", size=60_000))
        agent = await cluster.agent("n1")
        await asyncio.sleep(1)
        assert len(agent.view.of_kind("Service")) == 12

    simulate(scenario)


def test_a_lost_last_delta_is_found_by_the_next_mark() -> None:
    async def scenario(cluster: GatewayedCluster) -> None:
        agent = await cluster.agent("n1")
        await asyncio.sleep(1)
        cluster.rules.replace([Rule(topic=topics.shared_down(CLUSTER), verdict=Verdict.DROP)])
        await cluster.client.create(kinds.SERVICES, service("web"))
        await asyncio.sleep(0.5)
        cluster.rules.replace([])
        assert agent.view.lookup("Service", "default", "web") is None
        await asyncio.sleep(wire.mark_period_s(FAST.heartbeat_s) + 0.5)
        assert agent.view.lookup("Service", "default", "web") is not None

    simulate(scenario)


def test_another_link_of_the_process_reads_when_the_first_one_is_cut() -> None:
    """Two nodes share a view; the one that reads is cut off, and what came meanwhile is asked for."""

    async def scenario(cluster: GatewayedCluster) -> None:
        view = ClusterView(
            CLUSTER, timings=FAST, clock=cluster.clock, chance=cluster.chance, log=structlog.get_logger()
        )
        for node in ("p1", "p2"):
            link = cluster.broker.link(node, cluster.rules)
            peer = Peer(
                link,
                name=node,
                publish_to=topics.node_up(CLUSTER, node),
                clock=cluster.clock,
                log=structlog.get_logger(),
            )
            view.join(node, link, peer.tell)
            receive(link, topics.node_down(CLUSTER, node), lambda _, envelope: _take(view, envelope))
            await link.open()
        await asyncio.sleep(1)
        assert view.synced
        cluster.rules.replace([Rule(sender="p1", verdict=Verdict.CUT)])
        await cluster.client.create(kinds.SERVICES, service("web"))
        await asyncio.sleep(30)
        assert view.lookup("Service", "default", "web") is not None
        view.leave("p1")
        view.leave("p2")

    simulate(scenario)


def _take(view: ClusterView, envelope: Envelope) -> None:
    if isinstance(envelope.body, wire.SharedSnapshot):
        view.take(envelope.body)


def test_a_repeated_registration_gets_the_same_session_again() -> None:
    """Its answer was slow or lost: load that makes answers slow must not make new sessions."""

    async def scenario(cluster: GatewayedCluster) -> None:
        agent = await cluster.agent("n1")
        await asyncio.sleep(2)
        first, begun = agent.session, dict(agent._begun)
        agent._begun.clear()  # as if the answer had not come
        agent._register()
        agent._register()
        await cluster.eventually(lambda: agent.session)
        assert agent.session == first
        assert list(agent._begun) == list(begun)[-1:]

    simulate(scenario)


def test_an_agent_that_is_slow_but_gets_on_is_left_alone() -> None:
    """It confirms one of twenty changes per second, far behind, and never has to register again."""

    async def scenario(cluster: GatewayedCluster) -> None:
        agent = await cluster.agent("n1")
        await cluster.eventually(lambda: agent.session)
        registrations = agent.registrations
        agent.beating = False
        for number in range(20):
            await cluster.pod(f"p{number}", "n1")
            await asyncio.sleep(0.05)
        for applied in range(1, 21):
            agent.tell(heartbeat(agent, applied))
            await asyncio.sleep(1)
        assert agent.registrations == registrations
        for _ in range(20):
            agent.tell(heartbeat(agent, 5))
            await asyncio.sleep(1)
        assert agent.registrations > registrations, "one that stands still has to"

    simulate(scenario)


def heartbeat(agent: Any, applied: int) -> wire.Heartbeat:
    return wire.Heartbeat(epoch=agent.epoch, session=agent.session, applied=applied, conditions=[])


class _Clock:
    """For a store that nobody writes to."""

    def monotonic(self) -> float:
        return 0.0

    def now(self) -> Any:
        raise NotImplementedError
