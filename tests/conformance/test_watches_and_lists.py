"""Watches, chunked lists, tables: sig-api-machinery's promises to informers and to kubectl."""

from __future__ import annotations

from typing import Any

import pytest
from conforming import Namespace, eventually, merged, next_event, watching
from live_server import LiveServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

CORE, MAPS = "api/v1", "configmaps"


async def config_map(space: Namespace, name: str, **labels: str) -> Any:
    return await space.create(CORE, MAPS, {"metadata": {"name": name, "labels": labels}, "data": {"n": "0"}})


async def test_watchers_observe_add_update_and_delete(live: LiveServer, space: Namespace) -> None:
    """Watchers: add, update, and delete watch notifications on configmaps, each for its selector only."""
    path = space.path(CORE, MAPS)
    async with (
        watching(live, path, labelSelector="w=a") as only_a,
        watching(live, path, labelSelector="w in (a,b)") as both,
    ):
        await config_map(space, "a", w="a")
        await next_event(only_a, "ADDED", "a")
        await next_event(both, "ADDED", "a")
        await space.merge(CORE, MAPS, "a", {"data": {"n": "1"}})
        assert (await next_event(only_a, "MODIFIED", "a"))["data"]["n"] == "1"
        await config_map(space, "b", w="b")
        await space.delete(CORE, MAPS, "a")
        gone = await next_event(only_a, "DELETED", "a")
        assert int(gone["metadata"]["resourceVersion"]) > 0
        await next_event(both, "ADDED", "b")
        await next_event(both, "DELETED", "a")


async def test_an_object_that_stops_matching_is_deleted_for_the_watcher(
    live: LiveServer, space: Namespace
) -> None:
    """Watchers: an object that stops meeting the selector is DELETED, and ADDED when it meets it again."""
    async with watching(live, space.path(CORE, MAPS), labelSelector="w=x") as events:
        await config_map(space, "m", w="x")
        await next_event(events, "ADDED", "m")
        await space.merge(CORE, MAPS, "m", {"metadata": {"labels": {"w": "other"}}})
        await next_event(events, "DELETED", "m")
        await space.merge(CORE, MAPS, "m", {"data": {"n": "2"}})
        await space.merge(CORE, MAPS, "m", {"metadata": {"labels": {"w": "x"}}})
        back = await next_event(events, "ADDED", "m")
        assert back["data"]["n"] == "2"


async def test_a_watch_starts_from_a_resource_version(live: LiveServer, space: Namespace) -> None:
    """Watchers: able to start watching from a specific resource version, and to restart from the last."""
    first = await config_map(space, "m")
    await space.merge(CORE, MAPS, "m", {"data": {"n": "1"}})
    await space.merge(CORE, MAPS, "m", {"data": {"n": "2"}})
    since = first["metadata"]["resourceVersion"]
    async with watching(live, space.path(CORE, MAPS), resourceVersion=since) as events:
        seen = [await next_event(events, "MODIFIED", "m") for _ in range(2)]
    assert [event["data"]["n"] for event in seen] == ["1", "2"]
    last = seen[-1]["metadata"]["resourceVersion"]
    await space.delete(CORE, MAPS, "m")
    async with watching(live, space.path(CORE, MAPS), resourceVersion=last) as events:
        await next_event(events, "DELETED", "m")


async def test_concurrent_watches_see_one_order(live: LiveServer, space: Namespace) -> None:
    """Watchers: receive events on concurrent watches in same order."""
    made = await config_map(space, "m0")
    for number in range(1, 6):
        await config_map(space, f"m{number}")
    orders = []
    for _ in range(3):
        since = made["metadata"]["resourceVersion"]
        async with watching(live, space.path(CORE, MAPS), resourceVersion=since) as events:
            orders.append([(await next_event(events, "ADDED"))["metadata"]["name"] for _ in range(5)])
    assert orders == [["m1", "m2", "m3", "m4", "m5"]] * 3


async def test_initial_events_end_with_a_bookmark(live: LiveServer, space: Namespace) -> None:
    """WatchList: everything as ADDED, then a bookmark with the annotation, then what happens."""
    await config_map(space, "m", w="list")
    options = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
    async with watching(
        live, space.path(CORE, MAPS), allowWatchBookmarks="true", labelSelector="w=list", **options
    ) as events:
        await next_event(events, "ADDED", "m")
        mark = await next_event(events, "BOOKMARK")
        assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await space.merge(CORE, MAPS, "m", {"data": {"n": "1"}})
        await next_event(events, "MODIFIED", "m")


async def test_chunks_cover_a_consistent_list(space: Namespace) -> None:
    """Servers with support for API chunking: each object once, remainingItemCount, one resourceVersion."""
    for number in range(10):
        body = {"metadata": {"name": f"t{number:02}"}, "template": {"spec": {"containers": []}}}
        body["template"]["spec"]["containers"] = [{"name": "c", "image": "x"}]
        await space.create(CORE, "podtemplates", body)
    names: list[str] = []
    query, revision = "?limit=3", ""
    while query:
        page = await space.get(CORE, "podtemplates", query=query)
        metadata = page["metadata"]
        names += [item["metadata"]["name"] for item in page["items"]]
        assert revision in ("", metadata["resourceVersion"])
        revision = metadata["resourceVersion"]
        if "continue" in metadata:
            assert metadata["remainingItemCount"] == 10 - len(names)
        query = f"?limit=3&continue={metadata['continue']}" if "continue" in metadata else ""
        await space.delete(CORE, "podtemplates", "t09") if len(names) == 3 else None
    assert names == [f"t{number:02}" for number in range(10)]
    assert len((await space.get(CORE, "podtemplates", query="?limit=500"))["items"]) == 9


async def test_tables(live: LiveServer, space: Namespace) -> None:
    """Servers with support for Table transformation: pods, chunks of a table, 406 where there is none."""
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    for number in range(3):
        body = {
            "metadata": {"name": f"t{number}"},
            "template": {"spec": {"containers": [{"name": "c", "image": "x"}]}},
        }
        await space.create(CORE, "podtemplates", body)
    path = space.path(CORE, "podtemplates")
    first = (await live.get(f"{path}?limit=2", headers={"Accept": accept})).expect(200)
    assert (first["apiVersion"], len(first["rows"])) == ("meta.k8s.io/v1", 2)
    assert first["metadata"]["continue"]
    rest = await live.get(f"{path}?continue={first['metadata']['continue']}", headers={"Accept": accept})
    assert len(rest.expect(200)["rows"]) == 1
    review = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    refused = await live.call(
        "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review, headers={"Accept": accept}
    )
    assert refused.expect(406)["reason"] == "NotAcceptable"


async def test_metadata_only(live: LiveServer, space: Namespace) -> None:
    """PartialObjectMetadata for get, list and watch."""
    await config_map(space, "m")
    one = {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
    got = (await live.get(space.path(CORE, MAPS, "m"), headers=one)).expect(200)
    assert (got["kind"], got["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert "data" not in got
    many = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    listed = (await live.get(space.path(CORE, MAPS), headers=many)).expect(200)
    assert listed["kind"] == "PartialObjectMetadataList"
    assert "m" in [item["metadata"]["name"] for item in listed["items"]]


async def test_dry_run_and_field_validation(live: LiveServer, space: Namespace) -> None:
    """FieldValidation: unknown and duplicate fields by strictness; a dry run stores nothing."""
    path = space.path(CORE, MAPS)
    body = {"metadata": {"name": "m"}, "data": {}, "unknown": 1}
    strict = await live.call("POST", f"{path}?fieldValidation=Strict", body)
    assert 'strict decoding error: unknown field "unknown"' in strict.expect(400)["message"]
    warned = await live.call("POST", f"{path}?fieldValidation=Warn&dryRun=All", body)
    warned.expect(201)
    assert warned.headers["Warning"] == '299 - "unknown field \\"unknown\\""'
    twice = b'{"metadata":{"name":"m"},"data":{"a":"1","a":"2"}}'
    headers = {"Content-Type": "application/json"}
    reply = await live.call("POST", f"{path}?fieldValidation=Strict", data=twice, headers=headers)
    assert (
        'duplicate field "data[\\"a\\"]"' in reply.expect(400)["message"]
        or "duplicate field" in reply.json["message"]
    )
    assert (await live.get(f"{path}/m")).status == 404


async def test_collections_are_deleted_by_selector(space: Namespace, live: LiveServer) -> None:
    """deletecollection: only what matches goes."""
    for name, label in (("a", "x"), ("b", "x"), ("c", "y")):
        await config_map(space, name, w=label)
    await live.call("DELETE", space.path(CORE, MAPS) + "?labelSelector=w%3Dx")
    listed = await space.get(CORE, MAPS, query="?labelSelector=w")
    assert [item["metadata"]["name"] for item in listed["items"]] == ["c"]


async def test_events_in_both_groups(live: LiveServer, space: Namespace) -> None:
    """Events API: one storage in two groups; field selectors, patch of series, collection delete."""
    body = {
        "metadata": {"name": "e", "labels": {"t": "1"}},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "regarding": {"kind": "Pod", "name": "p", "namespace": space.name},
        "reportingController": "test",
        "reportingInstance": "test-1",
        "action": "Looked",
        "reason": "Test",
        "type": "Normal",
        "note": "hello",
    }
    await space.create("apis/events.k8s.io/v1", "events", body)
    core = await space.get(CORE, "events", "e")
    assert (core["message"], core["involvedObject"]["name"]) == ("hello", "p")
    listed = await space.get(CORE, "events", query="?fieldSelector=involvedObject.name%3Dp,reason%3DTest")
    assert len(listed["items"]) == 1
    listed = await space.get(
        "apis/events.k8s.io/v1", "events", query="?fieldSelector=reportingController%3Dtest"
    )
    assert len(listed["items"]) == 1
    series = {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}}
    patched = await merged(live, space.path("apis/events.k8s.io/v1", "events", "e"), series)
    assert patched.expect(200)["series"]["count"] == 2
    await live.call("DELETE", space.path("apis/events.k8s.io/v1", "events") + "?labelSelector=t%3D1")
    assert (await live.get(space.path(CORE, "events", "e"))).status == 404


async def test_secrets_and_config_maps_that_never_change(space: Namespace) -> None:
    """Immutable ConfigMaps and Secrets: no change of data, no way back, deletion works."""
    for plural in (MAPS, "secrets"):
        await space.create(CORE, plural, {"metadata": {"name": "fixed"}})
        await space.merge(CORE, plural, "fixed", {"data": {"a": "YQ=="}})
        await space.merge(CORE, plural, "fixed", {"immutable": True})
        changed = await space.merge(CORE, plural, "fixed", {"data": {"a": "Yg=="}}, code=422)
        assert "field is immutable when `immutable` is set" in changed["message"]
        await space.merge(CORE, plural, "fixed", {"immutable": False}, code=422)
        await space.merge(CORE, plural, "fixed", {"metadata": {"labels": {"x": "y"}}})
        await space.delete(CORE, plural, "fixed")
    for plural in (MAPS, "secrets"):
        await space.create(CORE, plural, {"metadata": {"name": "bad"}, "data": {"": "YQ=="}}, code=422)


async def test_a_lease_is_taken_and_kept(space: Namespace) -> None:
    """Lease API should be available: holder, times, update, patch."""
    group = "apis/coordination.k8s.io/v1"
    spec = {"holderIdentity": "a", "leaseDurationSeconds": 30, "leaseTransitions": 0}
    spec["acquireTime"] = spec["renewTime"] = "2026-01-01T00:00:00.000000Z"
    made = await space.create(group, "leases", {"metadata": {"name": "l"}, "spec": spec})
    assert made["spec"] == spec
    patched = await space.merge(
        group, "leases", "l", {"spec": {"holderIdentity": "b", "leaseTransitions": 1}}
    )
    assert patched["spec"]["holderIdentity"] == "b"
    refused = await space.merge(group, "leases", "l", {"spec": {"leaseDurationSeconds": 0}}, code=422)
    assert refused["details"]["causes"][0]["field"] == "spec.leaseDurationSeconds"


async def test_default_objects_are_there(live: LiveServer, space: Namespace) -> None:
    """kubernetes Service with its endpoints, root CA, default account, default flow control objects."""
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
    assert (await live.get(slices)).expect(200)["endpoints"]
    endpoints = (await live.get("/api/v1/namespaces/default/endpoints/kubernetes")).expect(200)
    assert endpoints["subsets"][0]["ports"][0]["name"] == "https"

    async def root_ca() -> bool:
        return (await live.get(space.path(CORE, MAPS, "kube-root-ca.crt"))).status == 200

    await eventually(root_ca)
    await space.delete(CORE, MAPS, "kube-root-ca.crt")
    await eventually(root_ca, "the root CA comes back")
    flow = "/apis/flowcontrol.apiserver.k8s.io/v1"
    for path in ("flowschemas/exempt", "flowschemas/catch-all", "prioritylevelconfigurations/exempt",
                 "prioritylevelconfigurations/catch-all"):  # fmt: skip
        (await live.get(f"{flow}/{path}")).expect(200)
