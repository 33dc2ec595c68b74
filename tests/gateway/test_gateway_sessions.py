"""Registration, desired state, statuses and their resynchronisation, over the memory transport."""

from __future__ import annotations

import asyncio

import pytest
from gatewayed_cluster import GatewayedCluster, simulate

from broker import topics
from broker.rules import Rule, Verdict
from cluster.api import kinds, wire
from cluster.api.errors import NotFound
from cluster.api.objects import condition_of


def test_an_agent_becomes_a_node_with_lease_and_conditions() -> None:
    """The Node carries what the agent said, a pod CIDR, and Ready; the Lease belongs to the Node."""

    async def scenario(cluster: GatewayedCluster) -> None:
        await cluster.agent("n1")
        await asyncio.sleep(2)
        node = cluster.stored(kinds.NODES, "n1")
        assert node is not None
        assert node["spec"]["podCIDR"] == "10.244.0.0/24"
        assert node["status"]["capacity"]["cpu"] == "4"
        assert node["metadata"]["labels"]["kubernetes.io/arch"] == "amd64"
        ready = condition_of(node, "Ready")
        assert ready is not None
        assert (ready["status"], ready["reason"]) == ("True", "KubeletReady")
        lease = cluster.stored(kinds.LEASES, "n1", "kube-node-lease")
        assert lease is not None
        assert lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]
        first = lease["spec"]["renewTime"]
        await asyncio.sleep(2)
        lease = cluster.stored(kinds.LEASES, "n1", "kube-node-lease")
        assert lease is not None
        assert lease["spec"]["renewTime"] > first

    simulate(scenario)


def test_an_unchanged_node_is_not_written_with_every_heartbeat() -> None:
    async def scenario(cluster: GatewayedCluster) -> None:
        await cluster.agent("n1")
        await asyncio.sleep(2)
        before = cluster.stored(kinds.NODES, "n1")
        await asyncio.sleep(10)
        assert cluster.stored(kinds.NODES, "n1") is before

    simulate(scenario)


def test_pods_and_what_they_refer_to_reach_their_node_only() -> None:
    async def scenario(cluster: GatewayedCluster) -> None:
        one, two = await cluster.agent("n1"), await cluster.agent("n2")
        await asyncio.sleep(1)
        config = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings", "namespace": "default"},
            "data": {"a": "1"},
        }
        await cluster.client.create(kinds.CONFIG_MAPS, config)
        spec = {
            "containers": [
                {"name": "c", "image": "nginx", "envFrom": [{"configMapRef": {"name": "settings"}}]}
            ]
        }
        pod = await cluster.pod("web", "n1", **spec)
        await asyncio.sleep(1)
        assert list(one.desired.pods) == [pod["metadata"]["uid"]]
        assert one.desired.lookup("ConfigMap", "default", "settings") is not None
        assert not two.desired.pods
        assert two.desired.lookup("ConfigMap", "default", "settings") is None
        stored = await cluster.get_pod("web")
        assert stored["status"]["phase"] == "Running"

        await cluster.client.patch(kinds.CONFIG_MAPS, "settings", {"data": {"a": "2"}}, namespace="default")
        await asyncio.sleep(1)
        found = one.desired.lookup("ConfigMap", "default", "settings")
        assert found is not None
        assert found["data"] == {"a": "2"}

        await cluster.client.delete(kinds.PODS, "web", namespace="default")
        await asyncio.sleep(1)
        assert one.desired.lookup("ConfigMap", "default", "settings") is None
        with pytest.raises(NotFound):
            await cluster.get_pod("web")

    simulate(scenario)


def test_a_status_that_the_agent_wrote_is_not_sent_back() -> None:
    async def scenario(cluster: GatewayedCluster) -> None:
        agent = await cluster.agent("n1")
        await asyncio.sleep(2)
        await cluster.pod("web", "n1")
        await asyncio.sleep(2)
        assert agent.desired.applied == 2, "the full state and the pod"

    simulate(scenario)


def test_services_reach_every_node() -> None:
    async def scenario(cluster: GatewayedCluster) -> None:
        agents = [await cluster.agent(f"n{i}") for i in range(3)]
        await asyncio.sleep(1)
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"ports": [{"port": 80}], "selector": {"app": "web"}},
        }
        await cluster.client.create(kinds.SERVICES, service)
        await asyncio.sleep(1)
        assert all(agent.view.lookup("Service", "default", "web") for agent in agents)
        await cluster.client.delete(kinds.SERVICES, "web", namespace="default")
        await asyncio.sleep(1)
        assert not any(agent.view.lookup("Service", "default", "web") for agent in agents)

    simulate(scenario)


def test_a_full_state_larger_than_a_packet_arrives_whole() -> None:
    async def scenario(cluster: GatewayedCluster) -> None:
        for i in range(8):
            data = {"a": "x" * 100_000}
            meta = {"name": f"big-{i}", "namespace": "default"}
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
            await cluster.client.create(kinds.CONFIG_MAPS, body)
        volumes = [{"name": f"v{i}", "configMap": {"name": f"big-{i}"}} for i in range(8)]
        await cluster.pod("web", "n1", volumes=volumes)
        agent = await cluster.agent("n1")
        await asyncio.sleep(1)
        assert agent.desired.applied > 1
        assert all(agent.desired.lookup("ConfigMap", "default", f"big-{i}") for i in range(8))
        assert len(agent.running) == 1

    simulate(scenario)


def test_a_new_gateway_asks_for_registration_and_carries_on() -> None:
    """The controller manager was killed: the agent keeps its pods, the new gateway learns everything."""

    async def scenario(cluster: GatewayedCluster) -> None:
        agent = await cluster.agent("n1")
        await cluster.pod("web", "n1")
        await asyncio.sleep(2)
        cluster.broker.kill("control@kubemu")
        await cluster.gateway.stop()
        cluster.gateway = cluster.new_gateway()
        await cluster.pod("later", "n1")
        await cluster.gateway.start()
        await asyncio.sleep(3)
        assert agent.registrations > 1
        assert len(agent.running) == 2
        assert (await cluster.get_pod("later"))["status"]["phase"] == "Running"

    simulate(scenario)


def test_foreign_and_malformed_messages_are_counted_and_harmless() -> None:
    async def scenario(cluster: GatewayedCluster) -> None:
        agent = await cluster.agent("n1")
        await asyncio.sleep(1)
        agent.transport.publish(topics.node_up("test", "n1"), b"\x00nonsense")
        agent.tell(wire.RegisterAgain(reason="not mine to say"))
        await asyncio.sleep(1)
        assert cluster.gateway.counts["foreign"] == 1
        assert cluster.stored(kinds.NODES, "n1") is not None

    simulate(scenario)


def test_a_status_from_another_node_is_not_taken() -> None:
    async def scenario(cluster: GatewayedCluster) -> None:
        await cluster.agent("n1")
        liar = await cluster.agent("n2")
        pod = await cluster.pod("web", "n1")
        await asyncio.sleep(1)
        liar.outbox.report(pod["metadata"]["uid"], "default", "web", {"phase": "Failed"})
        liar.send()
        await asyncio.sleep(1)
        assert (await cluster.get_pod("web"))["status"]["phase"] == "Running"

    simulate(scenario)


@pytest.mark.parametrize("seed", range(12))
def test_lossy_links_never_leave_agent_and_store_apart(seed: int) -> None:
    """With loss, duplication and reordering in both directions while pods come and go; once that stops,
    each agent runs exactly what the store binds to it, and the store has each agent's statuses."""

    async def scenario(cluster: GatewayedCluster) -> None:
        agents = [await cluster.agent(f"n{i}") for i in range(3)]
        cluster.rules.replace(
            [
                Rule(verdict=Verdict.DROP, probability=0.15),
                Rule(verdict=Verdict.DUPLICATE, probability=0.15, delay_s=0.3),
                Rule(verdict=Verdict.REORDER, probability=0.3, delay_s=0.5),
            ]
        )
        chance = cluster.chance.fork("scenario")
        for number in range(60):
            await cluster.pod(f"p{number}", f"n{chance.below(3)}")
            if chance.random() < 0.4:
                victim = f"p{chance.below(number + 1)}"
                if cluster.stored(kinds.PODS, victim, "default"):
                    await cluster.client.delete(kinds.PODS, victim, namespace="default")
            await asyncio.sleep(chance.uniform(0, 0.5))
        cluster.rules.replace([])
        await asyncio.sleep(20)

        for agent in agents:
            bound = {
                entry.uid: entry.object
                for entry in cluster.store.list("pods", "")
                if entry.object["spec"]["nodeName"] == agent.name
            }
            assert sorted(agent.running) == sorted(bound)
            other = [p["metadata"] for p in bound.values() if p["status"]["phase"] != "Running"]
            assert not other
            assert not [p["metadata"] for p in bound.values() if "deletionTimestamp" in p["metadata"]]
        before = [agent.registrations for agent in agents]
        await asyncio.sleep(20)
        assert [agent.registrations for agent in agents] == before, "quiet once converged"

    simulate(scenario, seed)
