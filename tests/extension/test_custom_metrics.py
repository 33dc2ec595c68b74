"""The autoscaler's custom and external metrics come from the server that an APIService names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from extended import until
from flunders import SERVICES
from live_server import LiveServer
from own_server import OwnServer, own_server

from cluster.api.errors import ApiError, NotFound, ServiceUnavailable
from cluster.api.objects import Object
from cluster.reconcile.metrics import Metrics

CUSTOM, EXTERNAL = "/apis/custom.metrics.k8s.io/v1beta2", "/apis/external.metrics.k8s.io/v1beta1"


@pytest.fixture
async def own(server: LiveServer, tmp_path: Path) -> AsyncIterator[OwnServer]:
    async with own_server(tmp_path, server.pki.front_proxy_authority.certificate) as made:
        yield made


def _list(*values: tuple[str, str]) -> Object:
    items = [{"describedObject": {"kind": "Pod", "name": name}, "value": value} for name, value in values]
    return {"kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2", "items": items}


async def adapter(server: LiveServer, own: OwnServer, answers: dict[str, Any]) -> Metrics:
    """An adapter that serves both APIs and has these answers."""

    def answering(document: Any) -> Callable[[web.BaseRequest], Any]:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return web.json_response(document, status=document.get("code", 200))

        return handle

    for root in (CUSTOM, EXTERNAL):
        group, version = root.split("/")[2:]
        resources = {"kind": "APIResourceList", "groupVersion": f"{group}/{version}", "resources": []}
        own.handlers[root] = answering(resources)
    for path, document in answers.items():
        own.handlers[path] = answering(document)
    await own.be_service(server, 443)
    for root in (CUSTOM, EXTERNAL):
        group, version = root.split("/")[2:]
        name = f"{version}.{group}"
        spec = own.by_service() | {"group": group, "version": version}
        spec |= {"groupPriorityMinimum": 100, "versionPriority": 100}
        (await server.call("POST", SERVICES, {"metadata": {"name": name}, "spec": spec})).expect(201)

        async def available(name: str = name) -> bool:
            found = (await server.get(f"{SERVICES}/{name}")).expect(200)
            conditions = found.get("status", {}).get("conditions") or ()
            return any(c["reason"] == "Passed" for c in conditions)

        await until(available)
    return server.plane.world.metrics


async def test_each_kind_of_metric_is_asked_at_its_place(server: LiveServer, own: OwnServer) -> None:
    metrics = await adapter(server, own, {
        f"{CUSTOM}/namespaces/default/pods/*/rps": _list(("a", "100"), ("b", "250m")),
        f"{CUSTOM}/namespaces/default/ingresses.networking.k8s.io/front/rps": _list(("front", "2k")),
        f"{CUSTOM}/namespaces/team/metrics/load": _list(("team", "7")),
        f"{CUSTOM}/nodes/n1/heat": _list(("n1", "40")),
        f"{EXTERNAL}/namespaces/default/queue": _list(("", "5"), ("", "1500m")),
    })  # fmt: skip
    assert await metrics.pod_metric("default", "rps", "a=b") == {"a": 100, "b": Fraction(1, 4)}
    assert own.asked[-1] == f"{CUSTOM}/namespaces/default/pods/*/rps?metricLabelSelector=a%3Db"
    front = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "front"}
    assert await metrics.object_metric("default", front, "rps", "") == 2000
    team = {"apiVersion": "v1", "kind": "Namespace", "name": "team"}
    assert await metrics.object_metric("default", team, "load", "") == 7
    assert await metrics.object_metric("default", {"kind": "Node", "name": "n1"}, "heat", "") == 40
    assert await metrics.external_metric("default", "queue", "q=in") == [5, Fraction(3, 2)]
    assert own.asked[-1] == f"{EXTERNAL}/namespaces/default/queue?labelSelector=q%3Din"


async def test_what_the_adapter_refuses_is_told(server: LiveServer, own: OwnServer) -> None:
    why = "the server could not find the metric rps for pods"
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": why, "code": 404}
    metrics = await adapter(server, own, {f"{CUSTOM}/namespaces/default/pods/*/rps": status})
    with pytest.raises(ApiError, match=why):
        await metrics.pod_metric("default", "rps", "")
    with pytest.raises(NotFound, match="the server could not find the requested resource"):
        await metrics.external_metric("default", "nothing", "")


async def test_without_an_adapter_nothing_is_served(server: LiveServer) -> None:
    metrics = server.plane.world.metrics
    with pytest.raises(NotFound, match="the server could not find the requested resource"):
        await metrics.pod_metric("default", "rps", "")


async def test_an_adapter_that_cannot_be_reached_is_unavailable(server: LiveServer, own: OwnServer) -> None:
    metrics = await adapter(server, own, {})
    (await server.call("DELETE", "/api/v1/namespaces/default/services/own")).expect(200)
    with pytest.raises(ServiceUnavailable, match="currently unable to handle the request"):
        await metrics.pod_metric("default", "rps", "")
