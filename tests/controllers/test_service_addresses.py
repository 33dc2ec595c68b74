"""IPAddress objects follow the Services; a ServiceCIDR goes when nothing needs it any more."""

from __future__ import annotations

import pytest
from controlled_cluster import Cluster, simulate

from cluster.api import kinds
from cluster.api.errors import NotFound
from cluster.api.objects import Object, condition_of
from cluster.controllers.addresses.service_ranges import orphans


def _service(name: str, **spec: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}], **spec},
    }


def _range(name: str, *blocks: str, going: bool = False) -> Object:
    meta: Object = {"name": name}
    if going:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": meta,
        "spec": {"cidrs": list(blocks)},
    }


def _address(name: str, manager: str = "ipallocator.k8s.io") -> Object:
    return {"metadata": {"name": name, "labels": {"ipaddress.kubernetes.io/managed-by": manager}}}


async def _addresses(cluster: Cluster) -> dict[str, str]:
    return {
        a["metadata"]["name"]: a["spec"]["parentRef"]["name"]
        for a in await cluster.list(kinds.IP_ADDRESSES, namespace="")
    }


@pytest.mark.parametrize(
    ("others", "addresses", "expected"),
    [
        pytest.param([], [_address("10.1.0.5")], ["10.1.0.5"], id="in use"),
        pytest.param([], [_address("10.2.0.5")], [], id="of another range"),
        pytest.param([], [_address("10.1.0.5", "me")], [], id="not a Service's"),
        pytest.param([_range("b", "10.0.0.0/8")], [_address("10.1.0.5")], [], id="covered by another"),
        pytest.param([_range("b", "10.0.0.0/8", going=True)], [_address("10.1.0.5")], ["10.1.0.5"], id="which goes too"),
    ],
)  # fmt: skip
def test_who_holds_a_range(others: list[Object], addresses: list[Object], expected: list[str]) -> None:
    going = _range("a", "10.1.0.0/24", going=True)
    assert orphans(going, [going, *others], addresses) == expected


def test_each_cluster_ip_is_an_object_that_names_its_service() -> None:
    async def scenario(cluster: Cluster) -> None:
        made = await cluster.create(kinds.SERVICES, _service("web"))
        address = made["spec"]["clusterIP"]
        await cluster.create(kinds.SERVICES, _service("headless", clusterIP="None"))
        await cluster.settle(2)
        assert await _addresses(cluster) == {address: "web"}
        found = await cluster.get(kinds.IP_ADDRESSES, address)
        assert found["spec"]["parentRef"] == {"resource": "services", "namespace": "default", "name": "web"}
        assert found["metadata"]["labels"] == {
            "ipaddress.kubernetes.io/ip-family": "IPv4",
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        }
        await cluster.client.delete(kinds.IP_ADDRESSES, address)
        await cluster.settle(2)
        assert await _addresses(cluster) == {address: "web"}, "it comes back"
        await cluster.expect_quiet(60)
        await cluster.client.delete(kinds.SERVICES, "web", namespace="default")
        await cluster.create(kinds.SERVICES, _service("next", clusterIP=address))
        await cluster.settle(2)
        assert await _addresses(cluster) == {address: "next"}
        await cluster.client.delete(kinds.SERVICES, "next", namespace="default")
        await cluster.settle(2)
        assert await _addresses(cluster) == {}

    simulate(scenario)


def test_a_range_in_use_stays_until_its_last_address_is_gone() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.SERVICE_CIDRS, _range("more", "10.98.0.0/24"))
        await cluster.settle(2)
        found = await cluster.get(kinds.SERVICE_CIDRS, "more")
        assert found["metadata"]["finalizers"] == ["networking.k8s.io/service-cidr-finalizer"]
        ready = condition_of(found, "Ready") or {}
        assert (ready["status"], ready["message"]) == ("True", "Kubernetes Service CIDR is ready")
        await cluster.create(kinds.SERVICES, _service("web", clusterIP="10.98.0.7"))
        await cluster.settle(2)
        await cluster.client.delete(kinds.SERVICE_CIDRS, "more")
        await cluster.settle(30)
        held = condition_of(await cluster.get(kinds.SERVICE_CIDRS, "more"), "Ready") or {}
        assert (held["status"], held["reason"]) == ("False", "Terminating")
        assert held["message"].startswith("There are still IPAddresses referencing the ServiceCIDR")
        await cluster.expect_quiet(60)
        await cluster.client.delete(kinds.SERVICES, "web", namespace="default")
        await cluster.settle(20)
        with pytest.raises(NotFound):
            await cluster.get(kinds.SERVICE_CIDRS, "more")

    simulate(scenario)
