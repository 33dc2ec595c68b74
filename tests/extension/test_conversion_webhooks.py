"""Custom kinds whose versions a webhook converts: stored once, read and written in every version."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from extended import CRDS, define, patch, until
from live_server import LiveServer
from own_server import OwnServer, own_server

from cluster.api.objects import Object

HOSTS = "/apis/stable.example.com/{}/namespaces/default/servers"
V1, V2 = HOSTS.format("v1"), HOSTS.format("v2")


def converted(review: Object) -> Object:
    """v1 has host and port in one text, v2 apart: as many conversion examples have it."""
    request = review["request"]
    wanted = request["desiredAPIVersion"]
    objects = []
    for obj in request["objects"]:
        new = {**obj, "apiVersion": wanted}
        if wanted.endswith("/v2"):
            host, _, port = new.pop("hostPort", ":").partition(":")
            new |= {"host": host, "port": port}
        else:
            new["hostPort"] = f"{new.pop('host', '')}:{new.pop('port', '')}"
        objects.append(new)
    return answer(review, convertedObjects=objects)


def answer(review: Object, **response: Any) -> Object:
    found = {"uid": review["request"]["uid"], "result": {"status": "Success"}, **response}
    return {"apiVersion": review["apiVersion"], "kind": "ConversionReview", "response": found}


def servers(client: Object, storage: str = "v1") -> Object:
    texts = {"v1": ["hostPort"], "v2": ["host", "port"]}
    versions = [
        {
            "name": name, "served": True, "storage": name == storage,
            "selectableFields": [{"jsonPath": f".{texts[name][0]}"}],
            "subresources": {"status": {}},
            "schema": {
                "openAPIV3Schema": {
                    "type": "object",
                    "properties": {each: {"type": "string"} for each in texts[name]}
                    | ({"note": {"type": "string", "default": "none"}} if name == "v2" else {}),
                }
            },
        }
        for name in texts
    ]  # fmt: skip
    return {
        "metadata": {"name": "servers.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced", "versions": versions,
            "names": {"plural": "servers", "kind": "Server"},
            "conversion": {
                "strategy": "Webhook",
                "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1", "v1beta1"]},
            },
        },
    }  # fmt: skip


def one(version: str, name: str, **fields: str) -> Object:
    return {
        "apiVersion": f"stable.example.com/{version}", "kind": "Server", "metadata": {"name": name}, **fields,
    }  # fmt: skip


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[OwnServer]:
    async with own_server(tmp_path) as made:
        made.answer("/convert", converted)
        yield made


async def test_an_object_is_read_and_written_in_both_versions(server: LiveServer, own: OwnServer) -> None:
    """Stored as v1. Through a Service, whose name the certificate is for."""
    await own.be_service(server, 9443)
    await define(server, servers(own.by_service("/convert", 9443)))
    made = (await server.call("POST", V1, one("v1", "a", hostPort="h:80"))).expect(201)
    assert own.asked == []
    seen = (await server.get(f"{V2}/a")).expect(200)
    assert (seen["apiVersion"], seen["host"], seen["port"], seen["note"]) == (
        "stable.example.com/v2", "h", "80", "none",
    )  # fmt: skip
    assert "hostPort" not in seen
    assert seen["metadata"]["uid"] == made["metadata"]["uid"]
    changed = (await server.call("PUT", f"{V2}/a", seen | {"port": "81"})).expect(200)
    assert (changed["port"], changed["metadata"]["generation"]) == ("81", 2)
    assert (await server.get(f"{V1}/a")).expect(200)["hostPort"] == "h:81"
    assert (await patch(server, f"{V2}/a", {"host": "i"})).expect(200)["host"] == "i"
    applied = await server.call(
        "PATCH", f"{V2}/b?fieldManager=m", data=orjson.dumps(one("v2", "b", host="x", port="1")),
        headers={"Content-Type": "application/apply-patch+yaml"},
    )  # fmt: skip
    assert applied.expect(201)["port"] == "1"
    assert (await server.get(f"{V1}/b")).expect(200)["hostPort"] == "x:1"
    status = (await patch(server, f"{V2}/b/status", {"status": {}})).expect(200)
    assert status["apiVersion"] == "stable.example.com/v2"
    assert (await server.call("DELETE", f"{V2}/b")).expect(200)["status"] == "Success"


async def test_a_list_of_objects_stored_in_two_versions_asks_once(server: LiveServer, own: OwnServer) -> None:
    """The storage version changes in between; status.storedVersions remembers both."""
    definition = await define(server, servers(own.by_url("/convert")))
    (await server.call("POST", V1, one("v1", "a", hostPort="a:1"))).expect(201)
    (await server.call("POST", V1, one("v1", "b", hostPort="b:2"))).expect(201)
    definition["spec"] = servers(own.by_url("/convert"), "v2")["spec"]
    path = f"{CRDS}/servers.stable.example.com"
    stored = (await server.call("PUT", path, definition)).expect(200)["status"]["storedVersions"]
    assert stored == ["v1", "v2"]
    registry = server.plane.registry
    resource = registry.find("stable.example.com", "v1", "servers")
    assert resource is not None

    async def settled() -> bool:
        return registry.storage_of(resource).version == "v2"

    await until(settled)
    (await server.call("POST", V2, one("v2", "c", host="c", port="3"))).expect(201)
    own.asked.clear()
    found = (await server.get(V2)).expect(200)["items"]
    assert [(each["apiVersion"], each["host"]) for each in found] == [
        ("stable.example.com/v2", name) for name in "abc"
    ]
    assert own.asked == ["/convert?timeout=30s"]
    old = (await server.get(V1)).expect(200)["items"]
    assert [each["hostPort"] for each in old] == ["a:1", "b:2", "c:3"]
    chosen = (await server.get(f"{V2}?fieldSelector=host%3Db,metadata.name!%3Dc")).expect(200)["items"]
    assert [each["metadata"]["name"] for each in chosen] == ["b"]


async def test_watchers_see_their_version(server: LiveServer, own: OwnServer) -> None:
    """With a field of that version only as selector: who stops matching is deleted for the watcher."""
    await define(server, servers(own.by_url("/convert")))
    made = (await server.call("POST", V1, one("v1", "a", hostPort="h:1"))).expect(201)
    revision = made["metadata"]["resourceVersion"]
    seen: list[tuple[str, str, str]] = []
    session = server.session(server.pki.admin.certificate, server.pki.admin.key)
    query = f"watch=1&resourceVersion={revision}&fieldSelector=host%3Dh&timeoutSeconds=20"
    async with asyncio.timeout(20), session.get(f"{server.url}{V2}?{query}") as response:
        for text in ("h:2", "i:2", "j:3", "h:4"):
            (await patch(server, f"{V1}/a", {"hostPort": text})).expect(200)
        (await server.call("DELETE", f"{V1}/a")).expect(200)
        while len(seen) < 4:
            event = orjson.loads(await response.content.readline())
            seen.append((event["type"], event["object"]["host"], event["object"]["port"]))
    assert seen == [("MODIFIED", "h", "2"), ("DELETED", "h", "2"), ("ADDED", "h", "4"), ("DELETED", "h", "4")]


HEAD = "conversion webhook for stable.example.com/v1, Kind=Server "


@pytest.mark.parametrize(
    ("response", "said"),
    [
        ({"result": {"status": "Failure", "message": "no"}}, "failed: no"),
        ({"result": {"status": "Odd"}}, "failed: response.result.status was 'Odd', not 'Success'"),
        ({"uid": "x"}, 'failed: expected response.uid="UID", got "x"'),
        ({"convertedObjects": []}, "returned 0 objects, expected 1"),
        (
            {"convertedObjects": [one("v1", "a")]},
            "returned invalid object at index 0: invalid groupVersion (expected stable.example.com/v2, received "
            "stable.example.com/v1)",
        ),
        (
            {"convertedObjects": [one("v2", "a") | {"kind": "Client"}]},
            "returned invalid object at index 0: invalid kind (expected Server, received Client)",
        ),
        (
            {"convertedObjects": [one("v2", "b")]},
            "returned invalid object: must have the same name: a != b",
        ),
        (
            {"convertedObjects": [{"apiVersion": "stable.example.com/v2", "kind": "Server"}]},
            "returned invalid metadata: missing metadata in converted object",
        ),
    ],
)  # fmt: skip
async def test_what_a_webhook_does_wrong_is_said(
    server: LiveServer, own: OwnServer, response: Object, said: str
) -> None:
    uids: list[str] = []

    def wrong(review: Object) -> Object:
        uids.append(review["request"]["uid"])
        return answer(review, **response)

    own.answer("/convert", wrong)
    await define(server, servers(own.by_url("/convert")))
    (await server.call("POST", V1, one("v1", "a", hostPort="h:1"))).expect(201)
    failed = (await server.get(f"{V2}/a")).expect(500)
    assert failed["message"] == HEAD + said.replace("UID", uids[-1])
    assert not failed.get("reason")


async def test_without_its_webhook_a_kind_is_served_in_the_stored_version(
    server: LiveServer, own: OwnServer
) -> None:
    await define(server, servers(own.by_service("/convert")))
    (await server.call("POST", V1, one("v1", "a", hostPort="h:1"))).expect(201)
    failed = (await server.get(V2)).expect(500)["message"]
    assert failed == (
        f'{HEAD}failed: Post "https://own.default.svc:443/convert?timeout=30s": service "own" not found'
    )
    refused = (await server.call("POST", V2, one("v2", "b", host="b", port="1"))).expect(500)["message"]
    assert refused.startswith("conversion webhook for stable.example.com/v2, Kind=Server failed: Post")
    assert (await server.get(f"{V1}/a")).expect(200)["hostPort"] == "h:1"


async def test_a_kind_of_several_versions_goes_with_its_objects(server: LiveServer, own: OwnServer) -> None:
    await define(server, servers(own.by_url("/convert")))
    (await server.call("POST", V2, one("v2", "a", host="h", port="1"))).expect(201)
    path = f"{CRDS}/servers.stable.example.com"
    (await server.call("DELETE", path)).expect(200)

    async def gone() -> bool:
        return (await server.get(path)).status == 404

    await until(gone)
