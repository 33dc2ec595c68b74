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


async def test_addresses_come_from_added_ranges_too(api: Any) -> None:
    """A range counts once it is ready, and no longer when it is being deleted."""
    finalizer = "networking.k8s.io/service-cidr-finalizer"
    body = {"metadata": {"name": "more", "finalizers": [finalizer]}, "spec": {"cidrs": ["10.97.5.0/29"]}}
    made = await api.create(kinds.SERVICE_CIDRS, body)
    wanted = service("s", clusterIP="10.97.5.3")
    with pytest.raises(errors.Invalid, match="is not in the valid range"):
        await api.create(kinds.SERVICES, wanted)
    ready = {"type": "Ready", "status": "True", "reason": "", "message": "", "lastTransitionTime": None}
    ready["lastTransitionTime"] = made["metadata"]["creationTimestamp"]
    status = made | {"status": {"conditions": [ready]}}
    await api.update(kinds.SERVICE_CIDRS, status, subresource="status")
    assert (await api.create(kinds.SERVICES, wanted))["spec"]["clusterIP"] == "10.97.5.3"
    await api.delete(kinds.SERVICE_CIDRS, "more")
    with pytest.raises(errors.Invalid, match="is not in the valid range"):
        await api.create(kinds.SERVICES, service("t", clusterIP="10.97.5.4"))


async def test_a_reserved_address_is_not_given(api: Any) -> None:
    gateway = {"group": "example.com", "resource": "gateways", "namespace": "default", "name": "g"}
    body = {"metadata": {"name": "10.96.0.77"}, "spec": {"parentRef": gateway}}
    await api.create(kinds.IP_ADDRESSES, body)
    with pytest.raises(errors.Invalid, match="provided IP is already allocated"):
        await api.create(kinds.SERVICES, service("s", clusterIP="10.96.0.77"))
    await api.delete(kinds.IP_ADDRESSES, "10.96.0.77")
    await api.create(kinds.SERVICES, service("s", clusterIP="10.96.0.77"))


async def test_label_keys_become_part_of_the_selectors(api: Any) -> None:
    """matchLabelKeys and mismatchLabelKeys of a new pod, in affinity terms and spread constraints."""
    keys = {"matchLabelKeys": ["rev", "absent"]}
    term = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "a"}}, **keys}
    other = {"topologyKey": "zone", "labelSelector": {}, "mismatchLabelKeys": ["tenant"]}
    spread = {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", **keys}
    made = await api.create(
        kinds.PODS,
        {
            "metadata": {"name": "p", "labels": {"rev": "1", "tenant": "t"}},
            "spec": {
                "containers": [{"name": "c", "image": "i"}],
                "affinity": {
                    "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
                    "podAntiAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {"weight": 1, "podAffinityTerm": other}
                        ]
                    },
                },
                "topologySpreadConstraints": [{**spread, "labelSelector": {"matchLabels": {"app": "a"}}}],
            },
        },
    )
    revision = {"key": "rev", "operator": "In", "values": ["1"]}
    affinity, constraint = made["spec"]["affinity"], made["spec"]["topologySpreadConstraints"][0]
    (near,) = affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert near["labelSelector"] == {"matchLabels": {"app": "a"}, "matchExpressions": [revision]}
    (far,) = affinity["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert far["podAffinityTerm"]["labelSelector"]["matchExpressions"] == [
        {"key": "tenant", "operator": "NotIn", "values": ["t"]}
    ]
    assert constraint["labelSelector"]["matchExpressions"] == [revision]
