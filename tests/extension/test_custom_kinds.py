"""Kinds that clients define: served from the moment they are established, checked by their schema."""

from __future__ import annotations

import asyncio

from extended import CRDS, CRONTABS, crontab, define, definition, patch
from live_server import LiveServer


async def test_a_new_kind_is_established_and_served(server: LiveServer) -> None:
    """Names are accepted, storedVersions noted, and discovery shows the kind with its short name."""
    found = await define(server, definition())
    assert found["status"]["acceptedNames"]["singular"] == "crontab"
    assert found["status"]["acceptedNames"]["listKind"] == "CronTabList"
    assert found["status"]["storedVersions"] == ["v1"]
    assert {c["type"]: c["reason"] for c in found["status"]["conditions"]} == {
        "NamesAccepted": "NoConflicts", "Established": "InitialNamesAccepted",
    }  # fmt: skip
    listed = (await server.get("/apis/stable.example.com/v1")).expect(200)
    assert [(r["name"], r["shortNames"]) for r in listed["resources"]] == [("crontabs", ["ct"])]


async def test_objects_are_defaulted_pruned_and_validated(server: LiveServer) -> None:
    """The schema's default is filled in, an unknown field dropped, wrong values refused in OpenAPI's words."""
    await define(server, definition())
    made = (await server.call("POST", CRONTABS, crontab(unknown=1))).expect(201)
    assert made["spec"] == {"cronSpec": "* * * * */5", "image": "busybox"}
    assert made["metadata"]["generation"] == 1
    wrong = await server.call("POST", CRONTABS, crontab("two", replicas=0, image=3, cronSpec="x"))
    assert wrong.status == 422
    assert {(c["field"], c["reason"], c["message"]) for c in wrong.json["details"]["causes"]} == {
        (
            "spec.replicas", "FieldValueInvalid",
            "Invalid value: 0: spec.replicas in body should be greater than or equal to 1",
        ),
        (
            "spec.image", "FieldValueTypeInvalid",
            'Invalid value: "integer": spec.image in body must be of type string: "integer"',
        ),
        (
            "spec.cronSpec", "FieldValueInvalid",
            'Invalid value: "x": spec.cronSpec in body should match '
            r"'^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$'",
        ),
    }  # fmt: skip
    missing = await server.call("POST", CRONTABS, {**crontab("three"), "spec": {}})
    assert missing.json["message"] == (
        'CronTab.stable.example.com "three" is invalid: spec.cronSpec: Required value'
    )


async def test_null_is_the_same_as_nothing(server: LiveServer) -> None:
    """Where the schema doesn't allow null; with a default, that is taken."""
    await define(server, definition())
    made = (await server.call("POST", CRONTABS, crontab(replicas=None, image=None))).expect(201)
    assert made["spec"] == {"cronSpec": "* * * * */5", "image": "busybox"}


async def test_strategic_merge_is_refused(server: LiveServer) -> None:
    await define(server, definition())
    (await server.call("POST", CRONTABS, crontab())).expect(201)
    refused = await patch(server, f"{CRONTABS}/one", {"spec": {}}, "strategic-merge-patch+json")
    assert refused.status == 415


async def test_a_default_added_later_shows_in_stored_objects(server: LiveServer) -> None:
    """Defaults are applied when objects are read, without a write."""
    await define(server, definition())
    made = (await server.call("POST", CRONTABS, crontab())).expect(201)
    body = (await server.get(f"{CRDS}/crontabs.stable.example.com")).json
    spec = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["replicas"]["default"] = 3
    (await server.call("PUT", f"{CRDS}/crontabs.stable.example.com", body)).expect(200)
    await asyncio.sleep(0.05)
    read = (await server.get(f"{CRONTABS}/one")).expect(200)
    assert read["spec"]["replicas"] == 3
    assert read["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    listed = (await server.get(CRONTABS)).expect(200)
    assert listed["items"][0]["spec"]["replicas"] == 3


async def test_status_and_scale_are_endpoints_of_their_own(server: LiveServer) -> None:
    """Status writes don't touch spec or generation; scale reads and writes the paths of the definition."""
    body = definition()
    version = body["spec"]["versions"][0]
    version["schema"]["openAPIV3Schema"]["properties"]["status"] = {
        "type": "object", "x-kubernetes-preserve-unknown-fields": True,
    }  # fmt: skip
    version["subresources"] = {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.count",
            "labelSelectorPath": ".status.selector",
        },
    }  # fmt: skip
    await define(server, body)
    made = (await server.call("POST", CRONTABS, crontab(replicas=2) | {"status": {"count": 9}})).expect(201)
    assert "status" not in made
    changed = await patch(
        server, f"{CRONTABS}/one/status", {"spec": {"replicas": 5}, "status": {"count": 2, "selector": "a=b"}}
    )
    assert changed.expect(200)["spec"]["replicas"] == 2
    assert changed.json["metadata"]["generation"] == 1
    scale = (await server.get(f"{CRONTABS}/one/scale")).expect(200)
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 2, "selector": "a=b"})
    scale["spec"]["replicas"] = 7
    (await server.call("PUT", f"{CRONTABS}/one/scale", scale)).expect(200)
    after = (await server.get(f"{CRONTABS}/one")).json
    assert (after["spec"]["replicas"], after["metadata"]["generation"]) == (7, 2)


async def test_versions_are_views_of_one_object(server: LiveServer) -> None:
    """With conversion None only the apiVersion differs; an unserved version is not found."""
    body = definition()
    first = body["spec"]["versions"][0]
    body["spec"]["versions"] += [
        {**first, "name": "v2", "storage": False},
        {**first, "name": "v1beta1", "storage": False, "served": False},
        {**first, "name": "v1alpha1", "storage": False, "deprecated": True},
    ]
    await define(server, body)
    (await server.call("POST", CRONTABS, crontab())).expect(201)
    seen = (await server.get(CRONTABS.replace("/v1/", "/v2/") + "/one")).expect(200)
    assert seen["apiVersion"] == "stable.example.com/v2"
    assert (await server.get(CRONTABS.replace("/v1/", "/v1beta1/"))).status == 404
    old = await server.get(CRONTABS.replace("/v1/", "/v1alpha1/"))
    assert old.headers["Warning"] == '299 - "stable.example.com/v1alpha1 CronTab is deprecated"'


async def test_a_definition_takes_its_objects_with_it(server: LiveServer) -> None:
    """The definition stays until the last object is gone, then the kind is unknown again."""
    await define(server, definition())
    (await server.call("POST", CRONTABS, crontab())).expect(201)
    going = (await server.call("DELETE", f"{CRDS}/crontabs.stable.example.com")).expect(200)
    assert going["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    for _ in range(300):
        if (await server.get(f"{CRDS}/crontabs.stable.example.com")).status == 404:
            break
        await asyncio.sleep(0.01)
    assert (await server.get(f"{CRDS}/crontabs.stable.example.com")).status == 404
    for _ in range(50):
        gone = await server.get(CRONTABS)
        if gone.status == 404:
            break
        await asyncio.sleep(0)
    assert gone.json["message"] == "the server could not find the requested resource"


async def test_names_belong_to_who_came_first(server: LiveServer) -> None:
    """A second definition with the same kind is not accepted and not served."""
    await define(server, definition())
    second = definition(names={"plural": "others", "kind": "CronTab"})
    second["metadata"]["name"] = "others.stable.example.com"
    (await server.call("POST", CRDS, second)).expect(201)
    await asyncio.sleep(0.05)
    found = (await server.get(f"{CRDS}/others.stable.example.com")).json
    states = {c["type"]: (c["status"], c["reason"]) for c in found["status"]["conditions"]}
    assert states["NamesAccepted"][0] == "False"
    assert states["Established"] == ("False", "NotAccepted")
    assert (await server.get("/apis/stable.example.com/v1/namespaces/default/others")).status == 404


async def test_openapi_v2_tells_no_field_of_a_kind_that_allows_any(server: LiveServer) -> None:
    """Clients would take those it told for all there are."""
    body = definition()
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    body["spec"]["versions"][0]["schema"] = {"openAPIV3Schema": schema}
    body["spec"]["versions"][0].pop("additionalPrinterColumns", None)
    body["spec"]["versions"][0].pop("subresources", None)
    await define(server, body)
    shown = (await server.get("/openapi/v2")).expect(200)["definitions"]["com.example.stable.v1.CronTab"]
    assert sorted(shown) == ["type", "x-kubernetes-group-version-kind"]


async def test_openapi_shows_the_kind_in_both_versions(server: LiveServer) -> None:
    """v3 as it was defined; v2 without what it can't say, and nothing of what may be null or unknown."""
    body = definition()
    spec = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["free"] = {
        "type": "object", "x-kubernetes-preserve-unknown-fields": True,
        "properties": {"a": {"type": "string"}},
    }  # fmt: skip
    spec["properties"]["maybe"] = {"type": "string", "nullable": True}
    spec["required"].append("maybe")
    await define(server, body)
    name = "com.example.stable.v1.CronTab"
    third = (await server.get("/openapi/v3/apis/stable.example.com/v1")).expect(200)
    shown = third["components"]["schemas"][name]["properties"]["spec"]
    assert shown == spec
    second = (await server.get("/openapi/v2")).expect(200)["definitions"][name]["properties"]["spec"]
    assert second["required"] == ["cronSpec"]
    assert second["properties"]["image"] == {"type": "string"}
    assert second["properties"]["maybe"] == {}
    assert second["properties"]["free"] == {
        "type": "object", "x-kubernetes-preserve-unknown-fields": True,
    }  # fmt: skip
