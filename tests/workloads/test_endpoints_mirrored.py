"""Endpoints kept by hand appear as EndpointSlices."""

from __future__ import annotations

from typing import Any

from controlled_cluster import Cluster, simulate

from cluster.api import kinds
from cluster.api.objects import Object, controller_of

MIRROR = "endpointslice.kubernetes.io/managed-by=endpointslicemirroring-controller.k8s.io"


def service(**spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "external", "namespace": "default"},
        "spec": {"ports": [{"port": 80, "name": "http"}], **spec},
    }


def endpoints(*addresses: str, not_ready: tuple[str, ...] = (), port: int = 8080) -> Object:
    subset: Object = {
        "addresses": [{"ip": each} for each in addresses],
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
    }
    if not_ready:
        subset["notReadyAddresses"] = [{"ip": each} for each in not_ready]
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "external", "namespace": "default", "labels": {"team": "a"}},
        "subsets": [subset],
    }


async def slices(cluster: Cluster) -> list[Object]:
    await cluster.settle(2)
    return await cluster.list(kinds.ENDPOINT_SLICES, label_selector=MIRROR)


def test_a_mirror_follows_its_endpoints() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.SERVICES, service())
        await cluster.create(kinds.ENDPOINTS, endpoints("10.1.2.3", not_ready=("10.1.2.4",)))
        (piece,) = await slices(cluster)
        assert [(e["addresses"], e["conditions"]["ready"]) for e in piece["endpoints"]] == [
            (["10.1.2.3"], True),
            (["10.1.2.4"], False),
        ]
        assert piece["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
        assert piece["metadata"]["labels"]["kubernetes.io/service-name"] == "external"
        assert piece["metadata"]["labels"]["team"] == "a"
        assert (controller_of(piece) or {})["kind"] == "Endpoints"
        await cluster.merge(kinds.ENDPOINTS, "external", {"subsets": endpoints("10.1.2.9")["subsets"]})
        (changed,) = await slices(cluster)
        assert [e["addresses"] for e in changed["endpoints"]] == [["10.1.2.9"]]
        assert changed["metadata"]["name"] == piece["metadata"]["name"]
        both = {"subsets": [*endpoints("10.1.2.9")["subsets"], *endpoints("fd00::1", port=9)["subsets"]]}
        await cluster.merge(kinds.ENDPOINTS, "external", both)
        assert sorted(each["addressType"] for each in await slices(cluster)) == ["IPv4", "IPv6"]
        await cluster.expect_quiet()
        await cluster.client.delete(kinds.ENDPOINTS, "external", namespace="default")
        assert await slices(cluster) == []

    simulate(scenario)


def test_a_deleted_mirror_comes_back_and_a_selector_ends_mirroring() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.SERVICES, service())
        await cluster.create(kinds.ENDPOINTS, endpoints("10.1.2.3"))
        (piece,) = await slices(cluster)
        name = piece["metadata"]["name"]
        await cluster.client.delete(kinds.ENDPOINT_SLICES, name, namespace="default")
        assert len(await slices(cluster)) == 1
        await cluster.merge(kinds.SERVICES, "external", {"spec": {"selector": {"app": "x"}}})
        assert await slices(cluster) == []

    simulate(scenario)


def test_what_says_so_is_not_mirrored() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.SERVICES, service())
        body = endpoints("10.1.2.3")
        body["metadata"]["labels"]["endpointslice.kubernetes.io/skip-mirror"] = "true"
        await cluster.create(kinds.ENDPOINTS, body)
        assert await slices(cluster) == []

    simulate(scenario)
