"""Aggregated APIs: requests that a server behind a Service answers, and what APIServices say of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from aiohttp import web
from extended import patch, until
from flunders import FLUNDERS, GROUP, NAME, ROOT, SERVICES, Flunders, api_service
from live_server import LiveServer
from own_server import SERVICE, OwnServer, own_server

from cluster.api.kinds import CONFIG_MAPS, ENDPOINT_SLICES
from cluster.api.objects import Object


@pytest.fixture
async def own(server: LiveServer, tmp_path: Path) -> AsyncIterator[OwnServer]:
    async with own_server(tmp_path, server.pki.front_proxy_authority.certificate) as made:
        yield made


async def condition(server: LiveServer, reason: str) -> Object:
    async def look() -> Object | None:
        found = (await server.get(f"{SERVICES}/{NAME}")).expect(200)
        conditions = found.get("status", {}).get("conditions") or ()
        return next((c for c in conditions if c["reason"] == reason), None)

    found: Object = await until(look)
    return found


async def served(server: LiveServer, own: OwnServer) -> Flunders:
    flunders = Flunders(own)
    await own.be_service(server, 7443)
    (await server.call("POST", SERVICES, api_service(own.bundle))).expect(201)
    available = await condition(server, "Passed")
    assert (available["status"], available["message"]) == ("True", "all checks passed")
    return flunders


async def test_requests_go_to_the_server_of_the_api(server: LiveServer, own: OwnServer) -> None:
    """With the user in headers, which a client certificate vouches for; what a client pretends to be goes away."""
    flunders = await served(server, own)
    made = await server.call("POST", FLUNDERS, {"metadata": {"name": "a"}}, headers={"X-Remote-User": "root"})
    assert made.expect(201)["kind"] == "Flunder"
    assert flunders.client == "front-proxy-client"
    assert flunders.headers[:3] == [
        ("X-Remote-User", "kubernetes-admin"), ("X-Remote-Group", "system:masters"),
        ("X-Remote-Group", "system:authenticated"),
    ]  # fmt: skip
    await server.call("POST", FLUNDERS, {"metadata": {"name": "b"}})
    listed = (await server.get(f"{FLUNDERS}?limit=500")).expect(200)
    assert [item["metadata"]["name"] for item in listed["items"]] == ["a", "b"]
    assert own.asked[-1] == f"{FLUNDERS}?limit=500"
    watched = await server.get(f"{FLUNDERS}?watch=true")
    events = [orjson.loads(line) for line in watched.text.splitlines()]
    assert [event["object"]["metadata"]["name"] for event in events] == ["a", "b"]
    assert (await server.get(f"{FLUNDERS}/nowhere")).status == 404
    assert flunders.objects.keys() == {"a", "b"}


async def test_its_openapi_document_is_among_the_others(server: LiveServer, own: OwnServer) -> None:
    """If its server has one: the address is the server's, and so is what is found there."""
    address = f"/openapi/v3{ROOT}?hash=1"
    document = {"openapi": "3.0.0", "info": {"title": "flunders"}}

    async def index(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"paths": {ROOT[1:]: {"serverRelativeURL": address}}})

    async def paths(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(document)

    own.handlers["/openapi/v3"] = index
    own.handlers[f"/openapi/v3{ROOT}"] = paths
    await served(server, own)
    assert (await server.get("/openapi/v3")).expect(200)["paths"][ROOT[1:]] == {"serverRelativeURL": address}
    assert (await server.get(address)).expect(200) == document


async def test_who_may_not_is_refused_before(server: LiveServer, own: OwnServer) -> None:
    await served(server, own)
    own.asked.clear()
    refused = (await server.get(FLUNDERS, token="secret-of-jane")).expect(403)
    assert refused["message"] == (
        f'flunders.{GROUP} is forbidden: User "jane" cannot list resource "flunders" in API group "{GROUP}" '
        'in the namespace "default"'
    )
    assert FLUNDERS not in own.asked


async def test_discovery_has_the_api_among_the_others(server: LiveServer, own: OwnServer) -> None:
    await served(server, own)
    groups = {group["name"]: group for group in (await server.get("/apis")).expect(200)["groups"]}
    version = {"groupVersion": f"{GROUP}/v1alpha1", "version": "v1alpha1"}
    assert groups[GROUP] == {"name": GROUP, "versions": [version], "preferredVersion": version}
    assert (await server.get(f"/apis/{GROUP}")).expect(200)["preferredVersion"] == version
    assert (await server.get(ROOT)).expect(200)["resources"][0]["name"] == "flunders"
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    found = (await server.get("/apis", headers=accept)).expect(200)["items"]
    one = next(item for item in found if item["metadata"]["name"] == GROUP)
    [shown] = one["versions"]
    assert shown["freshness"] == "Current"
    [flunder] = shown["resources"]
    assert (flunder["resource"], flunder["scope"], flunder["shortNames"]) == (
        "flunders",
        "Namespaced",
        ["fl"],
    )
    assert flunder["responseKind"] == {"group": GROUP, "version": "v1alpha1", "kind": "Flunder"}
    assert [each["subresource"] for each in flunder["subresources"]] == ["status"]


async def url_of(server: LiveServer) -> str:
    address = (await server.get(f"/api/v1/namespaces/default/services/{SERVICE}")).json["spec"]["clusterIP"]
    return f"https://{address}:7443{ROOT}"


async def test_an_api_whose_server_fails_is_unavailable_until_it_answers(
    server: LiveServer, own: OwnServer
) -> None:
    flunders = await served(server, own)
    flunders.healthy = False
    (await patch(server, f"{SERVICES}/{NAME}", {"spec": {"versionPriority": 201}})).expect(200)
    failed = await condition(server, "FailedDiscoveryCheck")
    assert failed["status"] == "False"
    url = await url_of(server)
    assert failed["message"] == f"failing or missing response from {url}: bad status from {url}: 500"
    unavailable = await server.get(FLUNDERS)
    assert (unavailable.status, unavailable.text) == (503, b"service unavailable\n")
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    found = (await server.get("/apis", headers=accept)).expect(200)["items"]
    one = next(item for item in found if item["metadata"]["name"] == GROUP)
    assert one["versions"][0]["freshness"] == "Stale"
    flunders.healthy = True
    await condition(server, "Passed")
    (await server.get(FLUNDERS)).expect(200)


async def test_conditions_say_what_is_missing(server: LiveServer, own: OwnServer) -> None:
    """From a Service that is not there to a server with another authority."""
    Flunders(own)
    async with own_server(own_folder(server)) as other:
        (await server.call("POST", SERVICES, api_service(other.bundle))).expect(201)
    assert (await condition(server, "ServiceNotFound"))["message"] == (
        f'service/{SERVICE} in "default" is not present'
    )
    ports = [{"name": "https", "port": 8443}]
    services = "/api/v1/namespaces/default/services"
    (await server.call("POST", services, {"metadata": {"name": SERVICE}, "spec": {"ports": ports}})).expect(
        201
    )
    assert (await condition(server, "ServicePortError"))["message"] == (
        f'service/{SERVICE} in "default" is not listening on port 7443'
    )
    (await patch(server, f"{services}/{SERVICE}", {"spec": {"ports": [ports[0] | {"port": 7443}]}})).expect(
        200
    )
    assert (await condition(server, "EndpointsNotFound"))["message"] == (
        f'cannot find endpointslices for service/{SERVICE} in "default"'
    )
    slice_ = {
        "metadata": {"name": SERVICE, "labels": {"kubernetes.io/service-name": SERVICE}},
        "addressType": "IPv4", "endpoints": [], "ports": [{"name": "https", "port": own.port}],
    }  # fmt: skip
    await server.create(ENDPOINT_SLICES, slice_)
    assert (await condition(server, "MissingEndpoints"))["message"] == (
        f'endpointslices for service/{SERVICE} in "default" have no addresses with port name "https"'
    )
    endpoints = {"endpoints": [{"addresses": ["127.0.0.1"]}]}
    (await patch(server, f"{ENDPOINT_SLICES.path('default')}/{SERVICE}", endpoints)).expect(200)
    failed = await condition(server, "FailedDiscoveryCheck")
    assert failed["message"].endswith(
        f'Get "{await url_of(server)}": tls: failed to verify certificate: x509: certificate signed by unknown authority'
    )
    assert (await server.get(FLUNDERS)).status == 503


def own_folder(server: LiveServer) -> Path:
    folder = server.kubeconfig.parent / "other"
    folder.mkdir()
    return folder


async def test_servers_learn_whom_to_believe(server: LiveServer) -> None:
    found = (
        await server.get(f"{CONFIG_MAPS.path('kube-system')}/extension-apiserver-authentication")
    ).expect(200)
    data = found["data"]
    assert data["client-ca-file"] == server.pki.authority_pem.decode()
    assert data["requestheader-client-ca-file"] == server.pki.front_proxy_authority.certificate.read_text()
    assert data["requestheader-allowed-names"] == '["front-proxy-client"]'
    assert data["requestheader-username-headers"] == '["X-Remote-User"]'
    assert data["requestheader-group-headers"] == '["X-Remote-Group"]'
    assert data["requestheader-extra-headers-prefix"] == '["X-Remote-Extra-"]'


async def test_a_deleted_api_service_takes_its_api_along(server: LiveServer, own: OwnServer) -> None:
    await served(server, own)
    (await server.call("DELETE", f"{SERVICES}/{NAME}")).expect(200)
    assert (await server.get(FLUNDERS)).status == 404
    assert (await server.get(f"/apis/{GROUP}")).status == 404
