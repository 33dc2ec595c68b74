"""What a Service is given, keeps, and is refused."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from cluster.api import errors, kinds
from cluster.api.objects import Object


def service(name: str, **spec: Any) -> Object:
    ports = [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    return {"metadata": {"name": name}, "spec": {"selector": {"a": "b"}, "ports": ports, **spec}}


async def test_cluster_ip_is_drawn_and_unique(api: Any) -> None:
    made = [(await api.create(kinds.SERVICES, service(f"s{n}")))["spec"] for n in range(20)]
    addresses = {spec["clusterIP"] for spec in made}
    assert len(addresses) == 20
    assert all(IPv4Address(address) in IPv4Network("10.96.0.0/16") for address in addresses)
    first = made[0]
    assert (first["clusterIPs"], first["ipFamilies"]) == ([first["clusterIP"]], ["IPv4"])
    assert first["ipFamilyPolicy"] == "SingleStack"


async def test_taken_and_foreign_addresses_are_refused(api: Any) -> None:
    with pytest.raises(
        errors.Invalid, match=r"failed to allocate IP 10\.96\.0\.1: provided IP is already allocated"
    ):
        await api.create(kinds.SERVICES, service("s", clusterIP="10.96.0.1"))
    with pytest.raises(errors.Invalid, match=r"The range of valid IPs is 10\.96\.0\.0/16"):
        await api.create(kinds.SERVICES, service("s", clusterIP="192.168.0.1"))


async def test_address_is_free_again_after_deletion(api: Any) -> None:
    await api.create(kinds.SERVICES, service("s", clusterIP="10.96.0.50"))
    await api.delete(kinds.SERVICES, "s")
    await api.create(kinds.SERVICES, service("t", clusterIP="10.96.0.50"))


async def test_update_keeps_what_was_allocated(api: Any) -> None:
    made = await api.create(kinds.SERVICES, service("s", type="NodePort"))
    port = made["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    body = {"apiVersion": "v1", "kind": "Service", **service("s", type="NodePort", selector={"a": "c"})}
    after = await api.update(kinds.SERVICES, body)
    assert after["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    assert after["spec"]["ports"][0]["nodePort"] == port
    inner = await api.merge(kinds.SERVICES, "s", {"spec": {"type": "ClusterIP"}})
    assert "nodePort" not in inner["spec"]["ports"][0]


async def test_node_ports_are_checked(api: Any) -> None:
    def wanting(port: int) -> list[Object]:
        return [{"port": 80, "protocol": "TCP", "nodePort": port}]

    await api.create(kinds.SERVICES, service("s", type="NodePort", ports=wanting(30080)))
    with pytest.raises(errors.Invalid, match="Invalid value: 30080: provided port is already allocated"):
        await api.create(kinds.SERVICES, service("t", type="NodePort", ports=wanting(30080)))
    with pytest.raises(errors.Invalid, match="The range of valid ports is 30000-32767"):
        await api.create(kinds.SERVICES, service("t", type="NodePort", ports=wanting(80)))


async def test_headless_and_external_names_get_no_address(api: Any) -> None:
    headless = await api.create(kinds.SERVICES, service("h", clusterIP="None"))
    assert headless["spec"]["clusterIPs"] == ["None"]
    external = {"metadata": {"name": "e"}, "spec": {"type": "ExternalName", "externalName": "example.com"}}
    assert "clusterIP" not in (await api.create(kinds.SERVICES, external))["spec"]


async def test_kubernetes_service_has_the_first_address(api: Any) -> None:
    assert (await api.get(kinds.SERVICES, "kubernetes"))["spec"]["clusterIP"] == "10.96.0.1"
