"""Each stored kind supports every operation of the API, as the official suite asks kind by kind.

Spec names: "should support … API operations", "should run through the lifecycle of …", "should delete a
collection of …", "should patch/update/replace/read the status of …".
"""

from __future__ import annotations

import base64
from typing import Any

import pytest
from conforming import Namespace, merged, next_event, watching
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from live_server import LiveServer
from specimens import SPECIMENS, STATUSES

from cluster.api import kinds
from cluster.api.resource import Resource

pytestmark = pytest.mark.asyncio(loop_scope="session")

BY_NAME = {resource.qualified: resource for resource in kinds.BUILT_IN}
PROTECTED = ("persistentvolumes", "persistentvolumeclaims", "servicecidrs.networking.k8s.io")
"""A finalizer keeps them until their controller agrees."""


def signing_request() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jane")])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(Encoding.PEM)).decode()


def specimen(qualified: str, name: str, namespace: str) -> Any:
    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(each) for key, each in value.items()}
        if isinstance(value, list):
            return [filled(each) for each in value]
        if value == "@csr":
            return signing_request()
        return namespace if value == "@" else value

    return {"metadata": {"name": name, "labels": {"test": namespace}}, **filled(SPECIMENS[qualified])}


async def expect(live: LiveServer, method: str, path: str, body: Any = None, code: int = 200) -> Any:
    return (await live.call(method, path, body)).expect(code)


@pytest.mark.parametrize("qualified", list(SPECIMENS))
async def test_every_operation(live: LiveServer, space: Namespace, qualified: str) -> None:
    """Create, get, list in one and all namespaces, watch, patch, apply, update, delete, delete the rest."""
    resource = BY_NAME[qualified]
    first, second = f"{space.name}-a", f"{space.name}-b"
    base = resource.path(space.name if resource.namespaced else "")
    selector = f"labelSelector=test%3D{space.name}"
    made = await expect(live, "POST", base, specimen(qualified, first, space.name), 201)
    assert (made["apiVersion"], made["kind"]) == (resource.api_version, resource.kind)
    meta = made["metadata"]
    assert meta["uid"]
    assert meta["resourceVersion"]
    assert meta["creationTimestamp"]
    again = await live.call("POST", base, specimen(qualified, first, space.name))
    assert again.expect(409)["reason"] == "AlreadyExists"
    assert (await expect(live, "GET", f"{base}/{first}"))["metadata"]["uid"] == meta["uid"]
    listed = await expect(live, "GET", f"{base}?{selector}")
    assert listed["kind"] == f"{resource.kind}List"
    assert [item["metadata"]["name"] for item in listed["items"]] == [first]
    if resource.namespaced:
        everywhere = await expect(live, "GET", f"{resource.path('')}?{selector}")
        assert [item["metadata"]["name"] for item in everywhere["items"]] == [first]
    since = listed["metadata"]["resourceVersion"]
    async with watching(live, base, resourceVersion=since, labelSelector=f"test={space.name}") as events:
        await expect(live, "POST", base, specimen(qualified, second, space.name), 201)
        await next_event(events, "ADDED", second)
        annotated = await merged(live, f"{base}/{second}", {"metadata": {"annotations": {"patched": "true"}}})
        assert annotated.expect(200)["metadata"]["annotations"]["patched"] == "true"
        seen = await next_event(events, "MODIFIED", second)
        while seen["metadata"].get("annotations", {}).get("patched") != "true":
            seen = await next_event(events, "MODIFIED", second)
        await updated(live, f"{base}/{second}")
        seen = await next_event(events, "MODIFIED", second)
        while seen["metadata"]["annotations"].get("updated") != "true":
            seen = await next_event(events, "MODIFIED", second)
        await expect(live, "DELETE", f"{base}/{second}?propagationPolicy=Background")
        if qualified not in PROTECTED:
            await next_event(events, "DELETED", second)
    await table(live, f"{base}?{selector}", first)
    gone = await expect(live, "DELETE", f"{base}?{selector}&propagationPolicy=Background")
    assert gone["kind"] == f"{resource.kind}List"
    missing = await live.get(f"{base}/{space.name}-none")
    status = missing.expect(404)
    singular = resource.plural if "events" in qualified else qualified  # both share one storage, the core one
    assert status["message"] == f'{singular} "{space.name}-none" not found'


async def updated(live: LiveServer, path: str) -> None:
    """Read and replace, again where a controller came between, as clients do."""
    for _ in range(5):
        current = await expect(live, "GET", path)
        current["metadata"]["annotations"]["updated"] = "true"
        reply = await live.call("PUT", path, current)
        if reply.status != 409:
            assert reply.expect(200)["metadata"]["annotations"]["updated"] == "true"
            return
    raise AssertionError(f"{path} was never left alone")


async def table(live: LiveServer, path: str, name: str) -> None:
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    made = (await live.get(path, headers=accept)).expect(200)
    assert made["kind"] == "Table"
    assert made["columnDefinitions"][0]["name"] in ("Name", "Last Seen")
    assert name in [row["object"]["metadata"]["name"] for row in made["rows"]]
    for row in made["rows"]:
        assert len(row["cells"]) == len(made["columnDefinitions"])


@pytest.mark.parametrize("qualified", list(STATUSES))
async def test_its_status(live: LiveServer, space: Namespace, qualified: str) -> None:
    """The status is read, patched and replaced at its own path; the object's path leaves it alone."""
    resource: Resource = BY_NAME[qualified]
    base = resource.path(space.name if resource.namespaced else "")
    path = f"{base}/{space.name}-s"
    made = await expect(live, "POST", base, specimen(qualified, f"{space.name}-s", space.name), 201)
    try:
        wanted = STATUSES[qualified]
        reply = await merged(
            live, f"{path}/status", {"metadata": {"annotations": {"s": "1"}}, "status": wanted}
        )
        patched = reply.expect(200)["status"]
        assert reply.json["metadata"]["annotations"]["s"] == "1"
        for key, value in wanted.items():
            assert patched.get(key) == value or isinstance(value, list | int | None), key
        for _ in range(5):
            current = await expect(live, "GET", f"{path}/status")
            reply = await live.call("PUT", f"{path}/status", current)
            if reply.status != 409:
                break
        assert reply.expect(200)["metadata"]["uid"] == made["metadata"]["uid"]
    finally:
        await live.call("DELETE", path)


async def test_no_kind_is_left_out() -> None:
    """Kinds that are stored and not here are named, with the reason."""
    elsewhere = {
        "namespaces",  # test_namespaces
        "componentstatuses",  # computed
        "horizontalpodautoscalers.autoscaling",
        "customresourcedefinitions.apiextensions.k8s.io", "apiservices.apiregistration.k8s.io",  # extension
        "mutatingadmissionpolicies.admissionregistration.k8s.io",
        "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
        "clustertrustbundles.certificates.k8s.io", "podcertificaterequests.certificates.k8s.io",
        "ipaddresses.networking.k8s.io",  # each belongs to a Service
        "devicetaintrules.resource.k8s.io", "resourceslices.resource.k8s.io",
        "storageversionmigrations.storagemigration.k8s.io",
        "nodes.metrics.k8s.io", "pods.metrics.k8s.io",  # computed
    }  # fmt: skip
    stored = {r.qualified for r in kinds.BUILT_IN if "create" in r.verbs and r.verbs != ("create",)}
    assert stored - set(SPECIMENS) <= elsewhere
