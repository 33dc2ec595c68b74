"""Watches over HTTP: lines of JSON, ended by time, by the client, or by an error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
from live_server import LiveServer

from cluster.api import kinds

PATH = "/api/v1/namespaces/default/configmaps"


def config_map(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}


async def lines(live: LiveServer, query: str, **headers: str) -> AsyncIterator[Any]:
    session = live.session(live.pki.admin.certificate, live.pki.admin.key)
    async with session.get(f"{live.url}{PATH}?watch=true&{query}", headers=headers) as response:
        assert response.status == 200
        async for line in response.content:
            yield orjson.loads(line)


async def revision(live: LiveServer) -> str:
    listing = (await live.get(PATH)).expect(200)
    text: str = listing["metadata"]["resourceVersion"]
    return text


async def test_changes_come_in_order_from_a_revision_on(live: LiveServer) -> None:
    start = await revision(live)
    stream = lines(live, f"resourceVersion={start}&labelSelector=app%3Dx")
    first = asyncio.ensure_future(anext(stream))
    await live.create(kinds.CONFIG_MAPS, config_map("other"))
    await live.create(kinds.CONFIG_MAPS, config_map("mine", app="x"))
    event = await first
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "mine")
    patch = b'{"metadata":{"labels":{"app":"y"}}}'
    headers = {"Content-Type": "application/merge-patch+json"}
    await live.call("PATCH", f"{PATH}/mine", data=patch, headers=headers)
    event = await anext(stream)
    assert event["type"] == "DELETED"
    await stream.aclose()


async def test_timeout_seconds_ends_the_watch_cleanly(live: LiveServer) -> None:
    assert [e async for e in lines(live, f"timeoutSeconds=1&resourceVersion={await revision(live)}")] == []


async def test_a_watch_list_ends_its_beginning_with_a_bookmark(live: LiveServer) -> None:
    await live.create(kinds.CONFIG_MAPS, config_map("a"))
    query = (
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1"
    )
    events = [event async for event in lines(live, query)]
    assert [e["type"] for e in events if e["object"]["metadata"].get("name", "a") == "a"] == [
        "ADDED",
        "BOOKMARK",
    ]
    annotations = events[-1]["object"]["metadata"]["annotations"]
    assert annotations == {"k8s.io/initial-events-end": "true"}


async def test_a_table_watch_has_its_columns_once(live: LiveServer) -> None:
    stream = lines(
        live,
        f"resourceVersion={await revision(live)}",
        Accept="application/json;as=Table;g=meta.k8s.io;v=v1",
    )
    first = asyncio.ensure_future(anext(stream))
    await live.create(kinds.CONFIG_MAPS, config_map("a"))
    event = await first
    assert event["object"]["kind"] == "Table"
    assert event["object"]["columnDefinitions"][0]["name"] == "Name"
    await live.create(kinds.CONFIG_MAPS, config_map("b"))
    second = await anext(stream)
    assert second["object"]["columnDefinitions"] == []
    assert second["object"]["rows"][0]["cells"][0] == "b"
    await stream.aclose()


async def test_a_client_that_goes_away_leaves_no_watch_behind(live: LiveServer) -> None:
    stream = lines(live, "resourceVersion=0")
    await anext(stream)
    assert live.plane.verbs.hub.count()["configmaps"] >= 1
    before = live.plane.verbs.hub.count()["configmaps"]
    await stream.aclose()
    for _ in range(100):
        if live.plane.verbs.hub.count()["configmaps"] == before - 1:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the watch is still open")


async def test_impossible_watches_are_refused(live: LiveServer) -> None:
    reply = await live.get(f"{PATH}?watch=true&resourceVersionMatch=NotOlderThan")
    assert reply.expect(422)["message"].endswith(
        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
    )


async def test_a_watch_from_too_old_a_revision_is_an_event_that_says_so(live: LiveServer) -> None:
    """The answer is 200: what is wrong with a revision is told within the stream."""
    live.plane.store._history("configmaps").floor = 50
    events = [event async for event in lines(live, "resourceVersion=5")]
    assert [event["type"] for event in events] == ["ERROR"]
    status = events[0]["object"]
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
    assert status["message"] == "too old resource version: 5 (50)"


async def test_options_that_contradict_each_other_are_all_named(live: LiveServer) -> None:
    async def refused(query: str) -> Any:
        status = (await live.get(f"{PATH}?{query}")).expect(422)
        assert status["details"]["kind"] == "ListOptions"
        return [cause["field"] for cause in status["details"]["causes"]], status["message"]

    fields, message = await refused("resourceVersionMatch=Sometimes&continue=x&sendInitialEvents=true")
    assert fields == ["resourceVersionMatch"] * 3 + ["sendInitialEvents"]
    assert message.startswith('ListOptions.meta.k8s.io "" is invalid: [resourceVersionMatch: Forbidden: ')
    fields, message = await refused("resourceVersionMatch=Exact&resourceVersion=0")
    assert message.endswith('resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
    fields, _ = await refused("watch=1&resourceVersionMatch=Exact&resourceVersion=5")
    assert fields == ["resourceVersionMatch"] * 2
    fields, message = await refused("watch=1&sendInitialEvents=true")
    assert message.endswith("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
