"""What the conformance suite asks of CustomResourceDefinitions; each test names its spec.

[sig-api-machinery] CustomResourceDefinition resources, … Watch, … PublishOpenAPI, AggregatedDiscovery [Conformance].
Conversion webhooks are in `test_conversion_webhooks`, kubectl's part of PublishOpenAPI in `test_extension_kubectl`.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from extended import CRDS, define, patch, until
from live_server import LiveServer

from cluster.api.objects import Object

GROUP = "conf.example.com"
STATUS_PATH = f"{CRDS}/foos.{GROUP}/status"
FOOS = f"/apis/{GROUP}/v1/namespaces/default/foos"
AGGREGATED = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}


def crd(
    plural: str = "foos", group: str = GROUP, versions: tuple[str, ...] = ("v1",), **schema: Any
) -> Object:
    found = {"type": "object", **(schema or {"x-kubernetes-preserve-unknown-fields": True})}
    kind = plural[:-1].capitalize()
    return {
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
            "versions": [
                {
                    "name": version, "served": True, "storage": index == 0,
                    "schema": {"openAPIV3Schema": found},
                }
                for index, version in enumerate(versions)
            ],
        },
    }  # fmt: skip


def foo(name: str, **more: Any) -> Object:
    return {"apiVersion": f"{GROUP}/v1", "kind": "Foo", "metadata": {"name": name}, **more}


async def gone(server: LiveServer, path: str) -> None:
    async def look() -> bool:
        return (await server.get(path)).status == 404

    await until(look)


async def test_definitions_come_and_go(server: LiveServer) -> None:
    """Simple CustomResourceDefinition creating/deleting custom resource definition objects works"""
    await define(server, crd())
    (await server.call("DELETE", f"{CRDS}/foos.{GROUP}")).expect(200)
    await gone(server, f"{CRDS}/foos.{GROUP}")


async def test_definitions_are_listed_and_deleted_by_label(server: LiveServer) -> None:
    """Simple CustomResourceDefinition listing custom resource definition objects works"""
    for index in range(10):
        body = crd(f"foo{chr(97 + index)}s")
        body["metadata"]["labels"] = {"run": "1"}
        await define(server, body)
    await define(server, crd("others"))
    path = f"{CRDS}?labelSelector=run%3D1"
    assert len((await server.get(path)).expect(200)["items"]) == 10
    (await server.call("DELETE", path)).expect(200)

    async def only_the_other() -> bool:
        items = (await server.get(CRDS)).expect(200)["items"]
        return [each["metadata"]["name"] for each in items] == [f"others.{GROUP}"]

    await until(only_the_other)


async def test_the_status_of_a_definition_is_read_updated_and_patched(server: LiveServer) -> None:
    """Simple CustomResourceDefinition getting/updating/patching custom resource definition status sub-resource works"""
    await define(server, crd())
    found = (await server.get(STATUS_PATH)).expect(200)
    condition = {
        "type": "StatusUpdated", "status": "True", "reason": "E2E", "message": "Set from e2e test",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    found["status"]["conditions"].append(condition)
    updated = (await server.call("PUT", STATUS_PATH, found)).expect(200)
    assert condition in updated["status"]["conditions"]
    conditions = [*updated["status"]["conditions"], {**condition, "type": "StatusPatched"}]
    patched = (await patch(server, STATUS_PATH, {"status": {"conditions": conditions}})).expect(200)
    assert [c["type"] for c in patched["status"]["conditions"]][-2:] == ["StatusUpdated", "StatusPatched"]
    assert (await server.get(STATUS_PATH)).expect(200)["status"] == patched["status"]


async def test_defaults_count_for_requests_and_for_what_is_stored(server: LiveServer) -> None:
    """custom resource defaulting for requests and from storage works: a default that is taken away stays in objects
    that were written with it"""
    spec_path = f"{CRDS}/foos.{GROUP}"

    def properties(**defaults: str) -> Object:
        fields = {
            name: {"type": "string"} | ({"default": defaults[name]} if name in defaults else {})
            for name in "ab"
        }
        return {"type": "object", "properties": fields}

    await define(server, crd(**properties()))
    (await server.call("POST", FOOS, foo("one"))).expect(201)

    async def redefine(**defaults: str) -> None:
        path = "/spec/versions/0/schema/openAPIV3Schema"
        operation = {"op": "replace", "path": path, "value": properties(**defaults)}
        (await patch(server, spec_path, [operation], "json-patch+json")).expect(200)

    async def shows(name: str, **wanted: str) -> None:
        async def look() -> bool:
            found = (await server.get(f"{FOOS}/{name}")).expect(200)
            return {key: found[key] for key in "ab" if key in found} == wanted

        await until(look)

    await redefine(a="A")
    await shows("one", a="A")
    assert (await server.call("POST", FOOS, foo("two"))).expect(201)["a"] == "A"
    await redefine(b="B")
    await shows("two", a="A", b="B")
    await shows("one", b="B")


async def test_discovery_documents_have_the_definitions(server: LiveServer) -> None:
    """should include custom resource definition resources in discovery documents"""
    group = "apiextensions.k8s.io"
    assert group in [each["name"] for each in (await server.get("/apis")).expect(200)["groups"]]
    version = {"groupVersion": f"{group}/v1", "version": "v1"}
    assert version in (await server.get(f"/apis/{group}")).expect(200)["versions"]
    resources = (await server.get(f"/apis/{group}/v1")).expect(200)["resources"]
    assert "customresourcedefinitions" in [each["name"] for each in resources]


async def test_custom_objects_are_watched(server: LiveServer) -> None:
    """CustomResourceDefinition Watch watch on custom resource definition objects"""
    await define(server, crd())
    session = server.session(server.pki.admin.certificate, server.pki.admin.key)
    seen = []
    async with session.get(f"{server.url}{FOOS}?watch=1&timeoutSeconds=20") as response:
        (await server.call("POST", FOOS, foo("a"))).expect(201)
        (await patch(server, f"{FOOS}/a", {"dummy": "test"})).expect(200)
        (await server.call("DELETE", f"{FOOS}/a")).expect(200)
        while len(seen) < 3:
            event = orjson.loads(await response.content.readline())
            seen.append((event["type"], event["object"].get("dummy")))
    assert seen == [("ADDED", None), ("MODIFIED", "test"), ("DELETED", "test")]


async def openapi(server: LiveServer) -> Object:
    found: Object = (await server.get("/openapi/v2")).expect(200)["definitions"]
    return found


def schema_name(version: str, kind: str = "Foo", group: str = GROUP) -> str:
    return f"{'.'.join(reversed(group.split('.')))}.{version}.{kind}"


async def published(server: LiveServer, *names: str) -> None:
    async def look() -> bool:
        return set(names) <= set(await openapi(server))

    await until(look)


async def test_openapi_has_kinds_of_different_groups(server: LiveServer) -> None:
    """works for multiple CRDs of different groups / of same group but different versions / of same group and version but
    different kinds"""
    await define(server, crd(versions=("v1", "v2")))
    await define(server, crd("bars"))
    await define(server, crd("bazs", group="other.example.com"))
    other = schema_name("v1", "Baz", "other.example.com")
    await published(server, schema_name("v1"), schema_name("v2"), schema_name("v1", "Bar"), other)
    index = (await server.get("/openapi/v3")).expect(200)["paths"]
    assert {f"apis/{GROUP}/v1", f"apis/{GROUP}/v2", "apis/other.example.com/v1"} <= set(index)


async def test_openapi_follows_the_served_versions(server: LiveServer) -> None:
    """removes definition from spec when one version gets changed to not be served"""
    body = await define(server, crd(versions=("v1", "v2")))
    await published(server, schema_name("v1"), schema_name("v2"))
    body["spec"]["versions"][1]["served"] = False
    (await server.call("PUT", f"{CRDS}/foos.{GROUP}", body)).expect(200)

    async def unpublished() -> bool:
        return schema_name("v2") not in await openapi(server)

    await until(unpublished)
    assert schema_name("v1") in await openapi(server)


async def test_openapi_follows_a_renamed_version(server: LiveServer) -> None:
    """updates the published spec when one version gets renamed"""
    await define(server, crd(versions=("v2", "v3")))
    before = (await openapi(server))[schema_name("v2")]
    operations = [
        {"op": "test", "path": "/spec/versions/1/name", "value": "v3"},
        {"op": "replace", "path": "/spec/versions/1/name", "value": "v4"},
    ]
    (await patch(server, f"{CRDS}/foos.{GROUP}", operations, "json-patch+json")).expect(200)
    await published(server, schema_name("v4"))
    definitions = await openapi(server)
    assert schema_name("v3") not in definitions
    assert definitions[schema_name("v2")] == before


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
async def test_aggregated_discovery_has_custom_kinds(server: LiveServer, version: str) -> None:
    """AggregatedDiscovery should support (raw) aggregated discovery request for CRDs"""
    await define(server, crd())
    accept = {"Accept": AGGREGATED["Accept"].replace("v=v2;", f"v={version};")}
    reply = await server.get("/apis", headers=accept)
    assert reply.headers["Content-Type"].startswith(f"application/json;g=apidiscovery.k8s.io;v={version};")
    found = next(item for item in reply.expect(200)["items"] if item["metadata"]["name"] == GROUP)
    assert [each["resource"] for each in found["versions"][0]["resources"]] == ["foos"]


# --- FieldValidation


async def strict(server: LiveServer, text: str) -> tuple[int, str]:
    reply = await server.call(
        "POST",
        f"{FOOS}?fieldValidation=Strict",
        data=text.encode(),
        headers={"Content-Type": "application/yaml"},
    )
    return reply.status, reply.json.get("message", "")


HEAD = f"apiVersion: {GROUP}/v1\nkind: Foo\nmetadata: {{name: n}}\n"
TYPED: Object = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "known": {"type": "string"},
                "ports": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"port": {"type": "integer"}}},
                },
                "template": {
                    "type": "object", "x-kubernetes-embedded-resource": True,
                    "x-kubernetes-preserve-unknown-fields": True,
                },
            },
        }
    },
}  # fmt: skip


async def test_anything_goes_without_a_schema(server: LiveServer) -> None:
    """should create/apply a CR with unknown fields for CRD with no validation schema"""
    await define(server, crd())
    assert await strict(server, HEAD + "spec: {unknown: 1, x: [y]}\n") == (201, "")


async def test_valid_objects_pass(server: LiveServer) -> None:
    """should create/apply a valid CR for CRD with validation schema"""
    await define(server, crd(**TYPED))
    assert await strict(server, HEAD + "spec: {known: a, ports: [{port: 1}]}\n") == (201, "")


async def test_unknown_fields_are_named(server: LiveServer) -> None:
    """should create/apply an invalid CR with extra properties for CRD with validation schema"""
    await define(server, crd(**TYPED))
    code, said = await strict(server, HEAD + "spec: {known: a, extra: b, ports: [{port: 1, more: 2}]}\n")
    assert code == 400
    assert said.endswith(
        'strict decoding error: unknown field "spec.extra", unknown field "spec.ports[0].more"'
    )


async def test_duplicates_are_found_where_anything_goes(server: LiveServer) -> None:
    """should detect duplicates in a CR when preserving unknown fields"""
    await define(server, crd())
    code, said = await strict(server, HEAD + "spec:\n  unknown: 1\n  foo: a\n  foo: b\n")
    assert code == 400
    assert 'key "foo" already set in map' in said
    body = (
        b'{"apiVersion":"%s/v1","kind":"Foo","metadata":{"name":"n"},"spec":{"a":1,"a":2}}' % GROUP.encode()
    )
    reply = await server.call(
        "POST", f"{FOOS}?fieldValidation=Strict", data=body, headers={"Content-Type": "application/json"}
    )
    assert reply.expect(400)["message"].endswith('strict decoding error: duplicate field "spec.a"')


async def test_unknown_metadata_is_found_in_the_object_and_in_embedded_ones(server: LiveServer) -> None:
    """should detect unknown metadata fields in both the root and embedded object of a CR"""
    await define(server, crd(**TYPED))
    text = (
        f"apiVersion: {GROUP}/v1\nkind: Foo\nmetadata: {{name: n, unknownMeta: x}}\n"
        "spec:\n  template:\n    apiVersion: v1\n    kind: Pod\n    metadata: {name: e, unknownSubMeta: y}\n"
    )
    code, said = await strict(server, text)
    assert code == 400
    assert 'unknown field "metadata.unknownMeta"' in said
    assert 'unknown field "spec.template.metadata.unknownSubMeta"' in said


async def applied(server: LiveServer, name: str, text: str) -> tuple[int, str]:
    """The same by server-side apply, as the suite sends it."""
    reply = await server.call(
        "PATCH",
        f"{FOOS}/{name}?fieldManager=field_validation_mgr&fieldValidation=Strict",
        data=text.encode(),
        headers={"Content-Type": "application/apply-patch+yaml"},
    )
    return reply.status, reply.json.get("message", "")


async def test_an_applied_object_is_judged_by_its_schema(server: LiveServer) -> None:
    """should create/apply a valid CR, an invalid CR with extra properties for CRD with validation schema; should
    detect unknown metadata fields in both the root and embedded object of a CR"""
    await define(server, crd(**TYPED))
    assert await applied(server, "n", HEAD + "spec: {known: a, ports: [{port: 1}]}\n") == (201, "")
    undeclared = ".unknownField: field not declared in schema"
    code, said = await applied(server, "n", HEAD + "unknownField: unknown\nspec: {known: b}\n")
    assert (code >= 400, undeclared in said) == (True, True), said
    embedded = "{apiversion: foo/v1, kind: Sub, metadata: {name: s, unknownSubMeta: unknown}}"
    meta = HEAD.replace("name: n", "name: n, unknownMeta: unknown")
    code, said = await applied(server, "n", f"{meta}spec: {{known: c, template: {embedded}}}\n")
    assert code >= 400
    fields = (".metadata.unknownMeta", ".spec.template.metadata.unknownSubMeta")
    assert any(f"{field}: field not declared in schema" in said for field in fields), said
    assert (await server.get(f"{FOOS}/n")).expect(200)["spec"]["known"] == "a"


async def test_an_applied_object_may_have_anything_but_duplicates(server: LiveServer) -> None:
    """should create/apply a CR with unknown fields for CRD with no validation schema; should detect duplicates in a CR
    when preserving unknown fields"""
    await define(server, crd())
    assert await applied(server, "n", HEAD + "spec: {unknown: uk1, ports: [{name: x}]}\n") == (201, "")
    code, said = await applied(server, "n", HEAD + "spec:\n  unknown: uk1\n  foo: a\n  foo: b\n")
    assert (code, 'line 7: key "foo" already set in map' in said) == (400, True), said


async def test_typed_objects_are_checked_alike(server: LiveServer) -> None:
    """should detect unknown and duplicate fields / unknown metadata fields of a typed object"""
    path = "/apis/apps/v1/namespaces/default/deployments?fieldValidation=Strict"
    text = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, unknownMeta: x}\nspec:\n  unknown: 1\n"
        "  replicas: 1\n  replicas: 2\n  selector: {matchLabels: {a: b}}\n"
        "  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}\n"
    )
    reply = await server.call("POST", path, data=text.encode(), headers={"Content-Type": "application/yaml"})
    said = reply.expect(400)["message"]
    assert 'key "replicas" already set in map' in said
    assert 'unknown field "metadata.unknownMeta"' in said
    assert 'unknown field "spec.unknown"' in said


# --- beyond the suite


@pytest.mark.parametrize(
    ("annotation", "code", "reason"),
    [
        ("https://github.com/kubernetes/kubernetes/pull/1", 201, "ApprovedAnnotation"),
        ("unapproved, a test", 201, "UnapprovedAnnotation"),
        ("nonsense", 422, ""),
        ("", 422, ""),
    ],
)
async def test_groups_of_the_community_need_its_approval(
    server: LiveServer, annotation: str, code: int, reason: str
) -> None:
    body = crd(group="conf.k8s.io")
    body["metadata"]["annotations"] = {"api-approved.kubernetes.io": annotation}
    made = await server.call("POST", CRDS, body)
    assert made.status == code
    if code == 422:
        assert (
            'protected groups must have approval annotation "api-approved.kubernetes.io"'
            in made.json["message"]
        )
        return

    async def condition() -> str:
        found = (await server.get(f"{CRDS}/foos.conf.k8s.io")).expect(200)["status"].get("conditions") or ()
        return next((c["reason"] for c in found if c["type"] == "KubernetesAPIApprovalPolicyConformant"), "")

    assert await until(condition) == reason


async def test_a_version_that_objects_are_stored_in_has_to_stay(server: LiveServer) -> None:
    """Until somebody has moved the objects and says so in the status."""
    await define(server, crd(versions=("v1", "v2")))
    path = f"{CRDS}/foos.{GROUP}"
    storage = [{"op": "replace", "path": f"/spec/versions/{i}/storage", "value": i == 1} for i in (0, 1)]
    (await patch(server, path, storage, "json-patch+json")).expect(200)
    gone = [{"op": "remove", "path": "/spec/versions/0"}]
    refused = (await patch(server, path, gone, "json-patch+json")).expect(422)["message"]
    assert (
        'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was previously'
        in refused
    )
    (await patch(server, STATUS_PATH, {"status": {"storedVersions": ["v2"]}})).expect(200)
    (await patch(server, path, gone, "json-patch+json")).expect(200)
