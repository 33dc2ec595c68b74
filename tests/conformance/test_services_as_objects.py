"""Services and Endpoints as objects: what sig-network's specs ask of the API alone."""

from __future__ import annotations

from typing import Any

import pytest
from conforming import Namespace
from live_server import LiveServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

CORE = "api/v1"
PORTS = [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 80}]


async def test_the_lifecycle_of_a_status(live: LiveServer, space: Namespace) -> None:
    """Services should complete a service status lifecycle."""
    labels = {"test-service-static": "true"}
    spec = {"type": "LoadBalancer", "loadBalancerClass": "example.com/nobody", "ports": PORTS}
    await space.create(CORE, "services", {"metadata": {"name": "s", "labels": labels}, "spec": spec})
    path = space.path(CORE, "services", "s", "status")
    assert (await live.get(path)).expect(200)["status"] == {"loadBalancer": {}}
    ingress = [{"ip": "203.0.113.1"}]
    patch = {
        "metadata": {"annotations": {"patchedstatus": "true"}},
        "spec": {"sessionAffinity": "ClientIP"},
        "status": {"loadBalancer": {"ingress": ingress}},
    }
    merge = "application/merge-patch+json"
    made = (await live.call("PATCH", path, patch, headers={"Content-Type": merge})).expect(200)
    assert made["metadata"]["annotations"] == {"patchedstatus": "true"}
    assert made["spec"]["sessionAffinity"] == "None"
    assert made["status"]["loadBalancer"]["ingress"] == [{"ip": "203.0.113.1", "ipMode": "VIP"}]
    condition = {
        "type": "StatusUpdate",
        "status": "True",
        "reason": "E2E",
        "message": "Set from e2e test",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    made["status"]["conditions"] = [condition]
    updated = (await live.call("PUT", path, made)).expect(200)
    assert updated["status"]["conditions"] == [condition]
    assert updated["status"]["loadBalancer"]["ingress"][0]["ip"] == "203.0.113.1"
    await space.merge(CORE, "services", "s", {"metadata": {"labels": {"test-service": "patched"}}})
    assert (await space.get(CORE, "services", "s"))["status"]["conditions"] == [condition]
    await space.delete(CORE, "services", "s")


async def test_a_collection_of_services(live: LiveServer, space: Namespace) -> None:
    """Services should delete a collection of services; should find a service from listing all namespaces."""
    for name, kind in (("a", "yes"), ("b", "yes"), ("c", "no")):
        meta = {"name": name, "labels": {"e2e-collection": kind}}
        await space.create(CORE, "services", {"metadata": meta, "spec": {"ports": PORTS}})
    everywhere = (await live.get(f"/{CORE}/services?labelSelector=e2e-collection%3Dno")).expect(200)
    assert [item["metadata"]["name"] for item in everywhere["items"]] == ["c"]
    names = {item["metadata"]["name"] for item in (await live.get(f"/{CORE}/services")).expect(200)["items"]}
    assert names >= {"kubernetes", "a", "b", "c"}
    path = space.path(CORE, "services")
    (await live.call("DELETE", f"{path}?labelSelector=e2e-collection%3Dyes")).expect(200)
    left = (await live.get(path)).expect(200)["items"]
    assert [item["metadata"]["name"] for item in left] == ["c"]


async def test_the_lifecycle_of_endpoints(live: LiveServer, space: Namespace) -> None:
    """Services should test the lifecycle of an Endpoint."""
    subset: dict[str, Any] = {"addresses": [{"ip": "10.0.0.24"}], "ports": PORTS_OF_ENDPOINTS}
    meta = {"name": "e", "labels": {"test-endpoint-static": "true"}}
    await space.create(CORE, "endpoints", {"metadata": meta, "subsets": [subset]})
    query = "?labelSelector=test-endpoint-static%3Dtrue"
    reply = await live.get(f"/{CORE}/endpoints{query}")
    assert len(reply.expect(200)["items"]) == 1
    told = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    assert reply.headers["Warning"] == f'299 - "{told}"'
    present = await space.get(CORE, "endpoints", "e")
    present["metadata"]["labels"]["test-service"] = "updated"
    path = space.path(CORE, "endpoints", "e")
    (await live.call("PUT", path, present)).expect(200)
    subset = {"addresses": [{"ip": "10.0.0.25"}], "ports": [{"name": "http-test", "port": 8080}]}
    await space.merge(
        CORE, "endpoints", "e", {"metadata": {"labels": {"test-service": "patched"}}, "subsets": [subset]}
    )
    found = await space.get(CORE, "endpoints", "e")
    assert found["metadata"]["labels"]["test-service"] == "patched"
    assert found["subsets"][0]["addresses"] == [{"ip": "10.0.0.25"}]
    assert found["subsets"][0]["ports"] == [{"name": "http-test", "port": 8080, "protocol": "TCP"}]
    (await live.call("DELETE", f"{space.path(CORE, 'endpoints')}{query}")).expect(200)
    assert (await live.get(path)).status == 404


PORTS_OF_ENDPOINTS = [{"name": "http", "protocol": "TCP", "port": 80}]


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort"])
async def test_what_the_type_brought_goes_with_it(live: LiveServer, space: Namespace, kind: str) -> None:
    """Services should be able to change the type from ClusterIP, from NodePort to ExternalName, and from ExternalName
    to NodePort: only type and name are changed, addresses and node ports follow."""
    made = await space.create(
        CORE, "services", {"metadata": {"name": "s"}, "spec": {"type": kind, "ports": PORTS}}
    )
    made["spec"] |= {"type": "ExternalName", "externalName": "foo.example.com"}
    path = space.path(CORE, "services", "s")
    told = (await live.call("PUT", path, made)).expect(200)["spec"]
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & told.keys()
    assert "nodePort" not in told["ports"][0]
    told = (await live.get(path)).expect(200)
    told["spec"] |= {"type": "NodePort"}
    del told["spec"]["externalName"]
    again = (await live.call("PUT", path, told)).expect(200)["spec"]
    assert again["clusterIP"]
    assert 30000 <= again["ports"][0]["nodePort"] <= 32767
