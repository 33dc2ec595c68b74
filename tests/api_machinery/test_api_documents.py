"""Discovery and OpenAPI documents."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import orjson
import pytest

from cluster.api import discovery, kinds, openapi, openapi_protobuf
from cluster.api.registry import Registry
from cluster.api.resource import Resource

Json = dict[str, Any]
FOO = Resource(group="x.io", version="v1beta1", kind="Foo", plural="foos", singular="foo", namespaced=True)


@pytest.fixture
def registry() -> Registry:
    made = Registry()
    made.add(FOO)
    return made


def test_groups_come_in_the_aggregators_order(registry: Registry) -> None:
    names = [group["name"] for group in discovery.groups(registry)["groups"]]
    assert names[:3] == ["apiregistration.k8s.io", "apps", "events.k8s.io"]
    assert names[-1] == "x.io"
    group = discovery.group(registry, "autoscaling")
    assert group is not None
    assert group["preferredVersion"] == {"groupVersion": "autoscaling/v2", "version": "v2"}
    assert discovery.group(registry, "nothing") is None


def test_versions_are_ranked_by_stability() -> None:
    versions = ["v1alpha1", "foo", "v10", "v2beta1", "v2", "v1beta2", "v11alpha2"]
    assert sorted(versions, key=discovery.version_rank) == [
        "v10", "v2", "v2beta1", "v1beta2", "v11alpha2", "v1alpha1", "foo",
    ]  # fmt: skip


def test_resources_with_their_subresources(registry: Registry) -> None:
    listed = discovery.resources(registry, "apps", "v1")
    assert listed is not None
    assert listed["groupVersion"] == "apps/v1"
    by_name = {entry["name"]: entry for entry in listed["resources"]}
    assert by_name["deployments"] == {
        "name": "deployments",
        "singularName": "deployment",
        "namespaced": True,
        "kind": "Deployment",
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": ["deploy"],
        "categories": ["all"],
        "storageVersionHash": "8aSe+NMegvE=",
    }
    assert by_name["deployments/scale"] == {
        "name": "deployments/scale",
        "singularName": "",
        "namespaced": True,
        "group": "autoscaling",
        "version": "v1",
        "kind": "Scale",
        "verbs": ["get", "patch", "update"],
    }
    assert discovery.resources(registry, "apps", "v2") is None


def test_both_forms_of_discovery_say_the_same(registry: Registry) -> None:
    for root in ("api", "apis"):
        for group in discovery.aggregated(registry, root)["items"]:
            for version in group["versions"]:
                listed = discovery.resources(registry, group["metadata"].get("name", ""), version["version"])
                assert listed is not None
                flat = {entry["name"]: entry["verbs"] for entry in listed["resources"]}
                nested = {r["resource"]: r["verbs"] for r in version["resources"]} | {
                    f"{r['resource']}/{s['subresource']}": s["verbs"]
                    for r in version["resources"]
                    for s in r.get("subresources", ())
                }
                assert nested == flat


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_reference_of_every_document_leads_somewhere(registry: Registry) -> None:
    for name, entry in openapi.v3_index(registry)["paths"].items():
        assert entry["serverRelativeURL"].startswith(f"/openapi/v3/{name}?hash=")
        document = openapi.v3(registry, name)
        assert document is not None
        known = {f"#/components/schemas/{schema}" for schema in document["components"]["schemas"]}
        assert set(references(document)) <= known
    document = openapi.v2(registry)
    assert set(references(document)) <= {f"#/definitions/{name}" for name in document["definitions"]}


def test_the_index_changes_with_what_is_served(registry: Registry) -> None:
    before = openapi.v3_index(registry)["paths"]
    registry.remove(FOO)
    after = openapi.v3_index(registry)["paths"]
    assert before.keys() - after.keys() == {"apis/x.io/v1beta1"}
    assert all(before[name] == after[name] for name in after)


def test_patch_operations_say_what_kubectl_looks_for(registry: Registry) -> None:
    document = openapi.v3(registry, "apis/apps/v1")
    assert document is not None
    operation = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert operation["x-kubernetes-group-version-kind"] == {
        "group": "apps",
        "version": "v1",
        "kind": "Deployment",
    }
    assert operation["x-kubernetes-action"] == "patch"
    assert "application/strategic-merge-patch+json" in operation["requestBody"]["content"]
    assert "fieldValidation" in {parameter["name"] for parameter in operation["parameters"]}
    document = openapi.v3(registry, "apis/x.io/v1beta1")
    assert document is not None
    operation = document["paths"]["/apis/x.io/v1beta1/namespaces/{namespace}/foos/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" not in operation["requestBody"]["content"]


def test_operation_ids_are_unique(registry: Registry) -> None:
    ids = [
        operation["operationId"]
        for path in openapi.v2(registry)["paths"].values()
        for method, operation in path.items()
        if method != "parameters"
    ]
    assert len(set(ids)) == len(ids)


def test_custom_schemas_are_published(registry: Registry) -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "nullable": True}}}
    custom = {"io.x.v1beta1.Foo": schema}
    document = openapi.v3(registry, "apis/x.io/v1beta1", custom)
    assert document is not None
    assert document["components"]["schemas"]["io.x.v1beta1.Foo"] == schema
    second = openapi.v2(registry, custom)
    assert second["definitions"]["io.x.v1beta1.Foo"]["properties"] == {"spec": {}}
    assert openapi_protobuf.encode(second)


def served(registry: Registry, path: str, accept: str, legacy: bool) -> tuple[bytes, str] | None:
    made: Any = None
    aggregated = "as=APIGroupDiscoveryList" in accept and not legacy
    match path.strip("/").split("/"):
        case ["api" | "apis" as root] if aggregated:
            media_type = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
            return orjson.dumps(discovery.aggregated(registry, root)), media_type
        case ["api"]:
            made = discovery.core_versions("127.0.0.1")
        case ["apis"]:
            made = discovery.groups(registry)
        case ["api", version]:
            made = discovery.resources(registry, "", version)
        case ["apis", group, version]:
            made = discovery.resources(registry, group, version)
        case ["openapi", "v2"] if "protobuf" in accept:
            media_type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
            return openapi_protobuf.encode(openapi.v2(registry)), media_type
        case ["openapi", "v3"] if not legacy:
            made = openapi.v3_index(registry)
        case ["openapi", "v3", *rest]:
            made = openapi.v3(registry, "/".join(rest))
        case ["version"]:
            made = {"major": "1", "minor": "37", "gitVersion": "v1.37.0"}
    return None if made is None else (orjson.dumps(made), "application/json")


@pytest.fixture(params=[False, True], ids=["current", "legacy"])
def server(request: pytest.FixtureRequest, registry: Registry) -> Iterator[str]:
    """Serves the documents alone; "legacy" has neither aggregated discovery nor OpenAPI v3."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlparse(self.path).path
            found = served(registry, path, self.headers.get("Accept", ""), request.param)
            body, media_type = found or (b"", "text/plain")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.mark.services
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_kubectl_reads_the_documents(server: str, tmp_path: Path) -> None:
    """Both ways to the schema: OpenAPI v3, and (asked for when that is not there) v2 in protobuf."""

    def run(*arguments: str) -> str:
        command = ["kubectl", "--server", server, "--cache-dir", str(tmp_path / "cache"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout

    assert "deployments" in run("api-resources", "--api-group=apps")
    explained = run("explain", "deployment.spec.template.spec.containers.ports")
    assert "containerPort" in explained
    assert "-required-" in explained


def test_every_built_in_kind_has_its_paths() -> None:
    document = openapi.v2(Registry())
    actions = {
        tuple(operation["x-kubernetes-group-version-kind"].values())
        for path in document["paths"].values()
        for method, operation in path.items()
        if method != "parameters" and "x-kubernetes-action" in operation
    }
    assert {(r.group, r.version, r.kind) for r in kinds.BUILT_IN} <= actions
