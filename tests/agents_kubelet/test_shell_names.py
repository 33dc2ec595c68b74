"""What the emulated shell's network commands make of the cluster's names."""

from __future__ import annotations

import asyncio

from agents_harness import World, make_container, make_pod, simulate

from cluster.api import wire
from cluster.api.objects import Object

HEADLESS: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "db", "namespace": "default", "uid": "s1"},
    "spec": {"clusterIP": "None", "clusterIPs": ["None"], "type": "ClusterIP", "ports": []},
}
PLAIN: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "shop", "uid": "s2"},
    "spec": {"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "type": "ClusterIP", "ports": []},
}
SLICE: Object = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {"name": "db-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "db"}},
    "addressType": "IPv4",
    "endpoints": [
        {"addresses": [f"10.1.0.{n}"], "hostname": f"db-{n}", "conditions": {"ready": True}} for n in (4, 5)
    ],
    "ports": [],
}


async def said(world: World, number: int, script: str) -> str:
    """The output of a script in the pod."""
    identity = f"t{number}"
    options = {"command": ["sh", "-c", script], "stdout": True, "stderr": True}
    opened = wire.StreamOpen(
        id=identity, kind="exec", uid="uid-web-1", container="web", options=options, window=1 << 20
    )
    world.tell(opened)
    await world.expect(
        lambda: any(isinstance(m, wire.StreamClose) and m.id == identity for m in world.messages)
    )
    data = [m for m in world.messages if isinstance(m, wire.StreamData) and m.id == identity]
    return b"".join(m.data for m in data if m.channel in (1, 2)).decode()


def test_names_are_looked_up_as_the_cluster_s_dns_answers() -> None:
    """Headless Services have their endpoints' addresses, each endpoint a name, other namespaces theirs."""

    async def story(world: World) -> None:
        container = make_container(image="busybox:1.36", command=["sleep", "1000"])
        world.want(HEADLESS, PLAIN, SLICE, make_pod(containers=[container]))
        await world.expect_ready()
        await asyncio.sleep(0.1)
        answer = await said(world, 1, "nslookup db")
        for address in ("10.1.0.4", "10.1.0.5"):
            assert f"Name:\tdb.default.svc.cluster.local\nAddress: {address}\n" in answer
        assert await said(world, 2, "getent hosts db-5.db") == "10.1.0.5        db-5.db\n"
        assert "Address: 10.96.0.7" in await said(world, 3, "nslookup web.shop")
        assert "Address: 10.96.0.7" in await said(world, 4, "nslookup web.shop.svc.cluster.local.")
        assert "name = db-4.db.default.svc.cluster.local." in await said(world, 5, "nslookup 10.1.0.4")
        assert "can't find web: NXDOMAIN" in await said(world, 6, "nslookup web")
        assert "bad address 'db-9.db'" in await said(world, 7, "wget -qO- http://db-9.db")
        assert "10.1.0.4:80" in await said(world, 8, "wget -T 1 -O- http://db-4.db.default.svc")

    simulate(story)


def test_a_pod_without_the_cluster_s_dns_knows_only_what_it_was_given() -> None:
    async def story(world: World) -> None:
        container = make_container(image="busybox:1.36", command=["sleep", "1000"])
        aliases = [{"ip": "10.9.9.9", "hostnames": ["old"]}]
        world.want(PLAIN, make_pod(containers=[container], dnsPolicy="None", hostAliases=aliases))
        await world.expect_ready()
        assert await said(world, 1, "getent hosts old") == "10.9.9.9        old\n"
        assert "NXDOMAIN" in await said(world, 2, "nslookup web.shop")

    simulate(story)
