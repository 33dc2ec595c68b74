"""EndpointSlices and Endpoints on virtual time, and the packing of endpoints into slices."""

from __future__ import annotations

import pytest
from controlled_cluster import Cluster, deployment, simulate

from cluster.api import kinds
from cluster.api.objects import Object
from cluster.controllers.endpoints.packing import pack
from cluster.controllers.endpoints.slices import hints_of


def service(name: str = "web", **spec: object) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    body = {"selector": {"app": "web"}, "ports": ports, **spec}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "labels": {"team": "a"}},
        "spec": body,
    }


def members(slices: list[Object]) -> list[Object]:
    return [endpoint for piece in slices for endpoint in piece.get("endpoints") or ()]


async def slices(cluster: Cluster, name: str = "web") -> list[Object]:
    return await cluster.list(kinds.ENDPOINT_SLICES, label_selector=f"kubernetes.io/service-name={name}")


def test_ready_pods_are_served_and_then_nothing_is_written() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.SERVICES, service())
        await cluster.settle(1)
        (placeholder,) = await slices(cluster)
        assert not placeholder.get("endpoints")
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=3))
        await cluster.settle()
        (piece,) = await slices(cluster)
        assert [e["conditions"] for e in members([piece])] == [
            {"ready": True, "serving": True, "terminating": False}
        ] * 3
        assert piece["ports"] == [{"name": "http", "port": 80, "protocol": "TCP"}]
        assert piece["metadata"]["labels"]["team"] == "a"
        old = await cluster.get(kinds.ENDPOINTS, "web")
        (subset,) = old["subsets"]
        assert len(subset["addresses"]) == 3
        assert subset["ports"] == [{"name": "http", "port": 80, "protocol": "TCP"}]
        await cluster.expect_quiet()

    simulate(scenario)


def test_a_terminating_pod_serves_but_is_not_ready() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.gone_after_s = 20
        await cluster.create(kinds.SERVICES, service())
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=2))
        await cluster.settle(5)
        await cluster.merge(kinds.DEPLOYMENTS, "web", {"spec": {"replicas": 1}})
        await cluster.settle(5)
        conditions = [e["conditions"] for e in members(await slices(cluster))]
        assert {"ready": False, "serving": True, "terminating": True} in conditions
        assert len(conditions) == 2
        await cluster.settle()
        assert len(members(await slices(cluster))) == 1

    simulate(scenario)


def test_pods_that_are_not_ready_are_listed_apart_unless_published() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.refuse = lambda pod: True
        await cluster.create(kinds.SERVICES, service())
        await cluster.create(kinds.SERVICES, service("all", clusterIP="None", publishNotReadyAddresses=True))
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=2))
        await cluster.settle()
        assert [e["conditions"]["ready"] for e in members(await slices(cluster))] == [False, False]
        assert [e["conditions"]["ready"] for e in members(await slices(cluster, "all"))] == [True, True]
        (subset,) = (await cluster.get(kinds.ENDPOINTS, "web"))["subsets"]
        assert (len(subset["notReadyAddresses"]), "addresses" in subset) == (2, False)
        (piece,) = await slices(cluster, "all")
        assert piece["metadata"]["labels"]["service.kubernetes.io/headless"] == ""

    simulate(scenario)


def test_a_thousand_pods_turning_ready_cost_few_slice_writes() -> None:
    """1,000 pods in slices of at most 100; the writes stay far under one per pod."""

    async def scenario(cluster: Cluster) -> None:
        writes: list[int] = []
        informer = cluster.world.informers.of(kinds.ENDPOINT_SLICES)
        informer.on_change(lambda old, new, cause: writes.append(1))
        await cluster.create(kinds.SERVICES, service())
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=1000))
        await cluster.settle(60)
        pieces = await slices(cluster)
        assert len(members(pieces)) == 1000
        assert max(len(p["endpoints"]) for p in pieces) <= 100
        assert len(writes) < 60

    simulate(scenario)


def test_deleting_the_service_removes_both_forms() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.SERVICES, service())
        await cluster.settle(2)
        await cluster.client.delete(kinds.SERVICES, "web", namespace="default")
        await cluster.settle(5)
        assert not await slices(cluster)
        assert not await cluster.list(kinds.ENDPOINTS)

    simulate(scenario)


def endpoint(number: int, ready: bool = True) -> Object:
    return {
        "addresses": [f"10.0.0.{number}"],
        "conditions": {"ready": ready},
        "targetRef": {"uid": f"u{number}", "name": f"p{number}"},
    }


def piece(*numbers: int) -> Object:
    return {"metadata": {"name": f"s{numbers[0]}"}, "endpoints": [endpoint(n) for n in numbers]}


@pytest.mark.parametrize(
    ("existing", "desired", "expected"),
    [
        pytest.param([], range(5), {"create": [3, 2]}, id="new-slices-are-filled"),
        pytest.param([piece(0, 1, 2)], range(3), {}, id="nothing-to-do"),
        pytest.param([piece(0, 1)], range(3), {"update": [3]}, id="room-is-used"),
        pytest.param(
            [piece(0, 1, 2), piece(3)], (0, 1, 3, 4), {"update": [3]}, id="a-changed-slice-is-filled"
        ),
        pytest.param([piece(0), piece(1, 2)], (0, 1, 2, 3), {"update": [3]}, id="the-fullest-with-room"),
        pytest.param([piece(0), piece(1, 2)], (1, 2), {"delete": 1}, id="an-empty-slice-goes"),
    ],
)
def test_packing(existing: list[Object], desired: range, expected: dict[str, object]) -> None:
    packed = pack(existing, [endpoint(n) for n in desired], limit=3)
    found = {
        "create": [len(each) for each in packed.create],
        "update": [len(each) for _, each in packed.update],
        "delete": len(packed.delete),
    }
    assert {name: value for name, value in found.items() if value} == expected


def test_only_the_slice_of_the_changed_endpoint_is_written() -> None:
    packed = pack([piece(0, 1, 2), piece(3, 4, 5)], [endpoint(n, ready=n != 4) for n in range(6)], limit=3)
    assert [each["metadata"]["name"] for each, _ in packed.update] == ["s3"]


@pytest.mark.parametrize(
    ("distribution", "kinds_of_hints"),
    [
        ("", []),
        ("PreferClose", ["forZones"]),
        ("PreferSameZone", ["forZones"]),
        ("PreferSameNode", ["forNodes", "forZones"]),
    ],
)
def test_hints_by_distribution(distribution: str, kinds_of_hints: list[str]) -> None:
    """A node without a zone can still be preferred itself."""
    assert sorted(hints_of({"zone": "a", "nodeName": "n1"}, distribution)) == kinds_of_hints
    without_zone = [kind for kind in kinds_of_hints if kind == "forNodes"]
    assert list(hints_of({"nodeName": "n1"}, distribution)) == without_zone
