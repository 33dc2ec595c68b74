"""What the conformance specs of sig-api-machinery require that need neither a container nor an extension, one test a
spec. Those of watches, tables, garbage collection and quotas are in tests/conformance."""

from __future__ import annotations

import re
from typing import Any

import pytest
from conforming import Namespace, eventually, merged, next_event, watching
from live_server import LiveServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

CORE = "api/v1"
FLOWS = "/apis/flowcontrol.apiserver.k8s.io/v1"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  {metadata}
spec:
  {unknown}
  replicas: 1
  {duplicate}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}, {template_metadata}}}
    spec:
      containers:
      - name: c
        image: nginx:1.27
"""


def manifest(name: str, **parts: str) -> bytes:
    empty = {"metadata": "", "unknown": "", "duplicate": "", "template_metadata": ""}
    return DEPLOYMENT.format(name=name, **(empty | parts)).encode()


# --- FieldValidation


async def strictly(space: Namespace, body: bytes, *, apply: bool = False) -> tuple[int, str]:
    path = space.path("apis/apps/v1", "deployments", "web" if apply else "")
    method, media = ("PATCH", "application/apply-patch+yaml") if apply else ("POST", "application/yaml")
    query = "?fieldValidation=Strict" + ("&fieldManager=m" if apply else "")
    reply = await space.live.call(method, path + query, data=body, headers={"Content-Type": media})
    return reply.status, reply.json.get("message", "")


@pytest.mark.parametrize("apply", [False, True], ids=["created", "applied"])
async def test_unknown_and_duplicate_fields_of_a_typed_object_are_detected(
    space: Namespace, apply: bool
) -> None:
    """FieldValidation should detect unknown and duplicate fields of a typed object."""
    code, message = await strictly(space, manifest("web", unknown="unknownField: x"), apply=apply)
    assert code in (400, 500)
    assert "spec.unknownField" in message
    code, message = await strictly(space, manifest("web", duplicate="replicas: 2"), apply=apply)
    assert code == 400
    assert '"replicas" already set in map' in message
    assert (await strictly(space, manifest("web"), apply=apply))[0] == 201


@pytest.mark.parametrize("apply", [False, True], ids=["created", "applied"])
async def test_unknown_metadata_of_a_typed_object_is_detected(space: Namespace, apply: bool) -> None:
    """FieldValidation should detect unknown metadata fields of a typed object."""
    for parts, field in (
        ({"metadata": "unknownMeta: x"}, "metadata.unknownMeta"),
        ({"template_metadata": "unknownMeta: x"}, "spec.template.metadata.unknownMeta"),
    ):
        code, message = await strictly(space, manifest("web", **parts), apply=apply)
        assert code in (400, 500)
        assert field in message


async def test_unknown_and_duplicate_fields_are_warned_of_by_default(space: Namespace) -> None:
    """The same without strictness: each is named in a warning, and the object is made."""
    path = space.path("apis/apps/v1", "deployments")
    body = (
        b'{"metadata":{"name":"web"},"spec":{"paused":true,"paused":true,"odd":1,"selector":{"matchLabels":'
        b'{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"x"}]}}}}'
    )
    headers = {"Content-Type": "application/json"}
    reply = await space.live.call("POST", path, data=body, headers=headers)
    reply.expect(201)
    session = space.live.session(space.live.pki.admin.certificate, space.live.pki.admin.key)
    async with session.put(f"{space.live.url}{path}/web", data=body, headers=headers) as answer:
        warned = answer.headers.getall("Warning")
    assert warned == [
        '299 - "duplicate field \\"spec.paused\\""',
        '299 - "unknown field \\"spec.odd\\""',
    ] or (warned == ['299 - "unknown field \\"spec.odd\\""', '299 - "duplicate field \\"spec.paused\\""'])


# --- Discovery


async def test_the_server_version_is_made_of_integers(live: LiveServer) -> None:
    """server version should find the server version."""
    version = (await live.get("/version")).expect(200)
    assert re.fullmatch(r"\d+", version["major"])
    assert re.fullmatch(r"\d+", version["minor"])


async def test_each_group_has_a_preferred_version_and_a_resource(live: LiveServer) -> None:
    """Discovery should validate PreferredVersion for each APIGroup; should locate the groupVersion and a resource
    within each APIGroup."""
    for group in (await live.get("/apis")).expect(200)["groups"]:
        assert group["preferredVersion"] in group["versions"]
        for version in group["versions"]:
            found = (await live.get(f"/apis/{version['groupVersion']}")).expect(200)
            assert (found["kind"], found["groupVersion"]) == ("APIResourceList", version["groupVersion"])
            assert all(one["name"] and one["kind"] and one["verbs"] for one in found["resources"])
            assert all("/" in one["name"] or one["singularName"] for one in found["resources"])


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
async def test_aggregated_discovery_names_every_built_in_resource(live: LiveServer, version: str) -> None:
    """AggregatedDiscovery should support raw aggregated discovery endpoint Accept headers; … interface."""
    header = {"Accept": AGGREGATED.format(version=version) + ",application/json"}
    for root in ("/api", "/apis"):
        reply = await live.get(root, headers=header)
        document = reply.expect(200)
        assert (document["kind"], document["apiVersion"]) == (
            "APIGroupDiscoveryList", f"apidiscovery.k8s.io/{version}",
        )  # fmt: skip
        assert f"v={version}" in reply.headers["Content-Type"]
        assert "as=APIGroupDiscoveryList" in reply.headers["Content-Type"]
        for group in document["items"]:
            name = group["metadata"].get("name", "")
            for served in group["versions"]:
                path = f"/apis/{name}/{served['version']}" if name else f"/api/{served['version']}"
                plain = (await live.get(path)).expect(200)["resources"]
                whole = [one["resource"] for one in served["resources"]]
                assert whole == [one["name"] for one in plain if "/" not in one["name"]]
    plain = await live.get("/apis", headers={"Accept": "application/json"})
    assert plain.expect(200)["kind"] == "APIGroupList"


@pytest.mark.parametrize(
    ("plural", "spec"),
    [
        ("flowschemas", {
            "matchingPrecedence": 10000,
            "priorityLevelConfiguration": {"name": "global-default"},
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{
                "subjects": [{"kind": "User", "user": {"name": "example-e2e-non-existent-user"}}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            }],
        }),
        ("prioritylevelconfigurations", {
            "type": "Limited",
            "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}},
        }),
    ],
)  # fmt: skip
async def test_priority_and_fairness_objects(live: LiveServer, plural: str, spec: dict[str, Any]) -> None:
    """API priority and fairness should support FlowSchema, PriorityLevelConfiguration API operations."""
    names = [one["name"] for one in (await live.get(FLOWS)).expect(200)["resources"]]
    assert {plural, f"{plural}/status"} <= set(names)
    base, labels = f"{FLOWS}/{plural}", {"special-label": "machinery"}
    body = {"metadata": {"generateName": "e2e-", "labels": labels}, "spec": spec}
    made = (await live.call("POST", base, body)).expect(201)
    path = f"{base}/{made['metadata']['name']}"
    listed = (await live.get(f"{base}?labelSelector=special-label%3Dmachinery")).expect(200)
    assert [one["metadata"]["uid"] for one in listed["items"]] == [made["metadata"]["uid"]]
    since = listed["metadata"]["resourceVersion"]
    async with watching(live, base, resourceVersion=since, labelSelector="special-label=machinery") as events:
        patched = await merged(live, path, {"metadata": {"annotations": {"patched": "true"}}})
        assert patched.expect(200)["metadata"]["annotations"] == {"patched": "true"}
        assert (await next_event(events, "MODIFIED"))["metadata"]["annotations"] == {"patched": "true"}
        condition = {"type": "Dangling", "status": "False", "reason": "E2E", "message": "Set by a test"}
        status = await merged(live, f"{path}/status", {"status": {"conditions": [condition]}})
        (found,) = status.expect(200)["status"]["conditions"]
        assert found.items() >= condition.items()
        assert (await live.get(f"{path}/status")).expect(200)["status"] == status.json["status"]
        await live.call("DELETE", path)
        await next_event(events, "DELETED", made["metadata"]["name"])
    assert (await live.get(path)).status == 404
    await live.call("POST", base, body)
    await live.call("DELETE", f"{base}?labelSelector=special-label%3Dmachinery")
    assert (await live.get(f"{base}?labelSelector=special-label%3Dmachinery")).json["items"] == []


# --- Namespaces


async def test_a_namespace_is_patched_updated_and_given_a_finalizer(live: LiveServer) -> None:
    """Namespaces should patch a Namespace; apply an update to a Namespace; apply a finalizer to a Namespace."""
    made = await live.call("POST", "/api/v1/namespaces", {"metadata": {"generateName": "spec-"}})
    path = f"/api/v1/namespaces/{made.expect(201)['metadata']['name']}"
    assert made.json["spec"]["finalizers"] == ["kubernetes"]
    assert made.json["metadata"]["labels"]["kubernetes.io/metadata.name"] == made.json["metadata"]["name"]
    patched = await merged(live, path, {"metadata": {"labels": {"testLabel": "testValue"}}})
    assert patched.expect(200)["metadata"]["labels"]["testLabel"] == "testValue"
    body = (await live.get(path)).expect(200)
    body["metadata"]["labels"]["updated"] = "yes"
    assert (await live.call("PUT", path, body)).expect(200)["metadata"]["labels"]["updated"] == "yes"
    fake = "e2e.example.com/fakeFinalizer"
    for finalizers in (["kubernetes", fake], ["kubernetes"]):
        body = (await live.get(path)).expect(200)
        body["spec"]["finalizers"] = finalizers
        after = (await live.call("PUT", f"{path}/finalize", body)).expect(200)
        assert after["spec"]["finalizers"] == finalizers
    await live.call("DELETE", path)

    async def gone() -> bool:
        return (await live.get(path)).status == 404

    await eventually(gone)


async def test_a_namespaces_status_is_patched_and_updated(live: LiveServer, space: Namespace) -> None:
    """Namespaces should apply changes to a namespace status."""
    path = f"/api/v1/namespaces/{space.name}"
    assert (await live.get(f"{path}/status")).expect(200)["status"]["phase"] == "Active"
    condition = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Patched by a test"}
    patched = await merged(
        live,
        f"{path}/status",
        {"metadata": {"annotations": {"a": "b"}}, "status": {"conditions": [condition]}},
    )
    assert patched.expect(200)["metadata"]["annotations"] == {"a": "b"}
    body = patched.json
    body["status"]["conditions"].append({**condition, "type": "StatusUpdate"})
    after = (await live.call("PUT", f"{path}/status", body)).expect(200)
    assert [one["type"] for one in after["status"]["conditions"]] == ["StatusPatch", "StatusUpdate"]
    assert after["status"]["phase"] == "Active"


# --- Chunks


async def test_a_list_goes_on_when_its_revision_is_compacted(
    live: LiveServer, space: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers with support for API chunking should support continue listing from the last key if the original version
    has been compacted away, though the list is inconsistent."""
    template = {"spec": {"containers": [{"name": "c", "image": "x"}]}}
    for number in range(7):
        await space.create(CORE, "podtemplates", {"metadata": {"name": f"t{number}"}, "template": template})
    first = await space.get(CORE, "podtemplates", query="?limit=3")
    token = first["metadata"]["continue"]
    await space.create(CORE, "podtemplates", {"metadata": {"name": "t9"}, "template": template})
    monkeypatch.setattr(live.plane.store, "compacted_revision", live.plane.store.revision)
    expired = await space.get(CORE, "podtemplates", query=f"?limit=3&continue={token}", code=410)
    assert expired["reason"] == "Expired"
    second = await space.get(
        CORE, "podtemplates", query=f"?limit=3&continue={expired['metadata']['continue']}"
    )
    assert len(second["items"]) == 3
    assert second["metadata"]["remainingItemCount"] == 2
    assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    third = await space.get(CORE, "podtemplates", query=f"?limit=3&continue={second['metadata']['continue']}")
    assert third["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    names = [one["metadata"]["name"] for page in (first, second, third) for one in page["items"]]
    assert names == [*(f"t{number}" for number in range(7)), "t9"]
    assert "continue" not in third["metadata"]
