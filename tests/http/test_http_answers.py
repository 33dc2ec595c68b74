"""The forms and headers of answers."""

from __future__ import annotations

import gzip
from typing import Any

import orjson
from live_server import LiveServer

from cluster.api import kinds

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1,application/json"
PARTIAL = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_an_object_goes_in_and_comes_out(live: LiveServer) -> None:
    made = await live.create(kinds.CONFIG_MAPS, config_map("a", x="1"))
    assert made["metadata"]["uid"]
    reply = await live.get(f"{CONFIG_MAPS}/a")
    assert reply.expect(200) == made
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Cache-Control"] == "no-cache, private"


async def test_every_answer_has_an_audit_id_and_keeps_the_one_given(live: LiveServer) -> None:
    assert len((await live.get("/version")).headers["Audit-Id"]) == 36
    reply = await live.get("/api/v1/pods", headers={"Audit-ID": "mine"})
    assert reply.headers["Audit-Id"] == "mine"


async def test_the_audit_id_is_the_cause_of_the_write(live: LiveServer) -> None:
    causes: list[str] = []
    live.plane.store.subscribe(lambda changes: causes.extend(c.cause for c in changes))
    await live.call("POST", CONFIG_MAPS, config_map("caused"), headers={"Audit-ID": "abc"})
    assert "r-abc" in causes


async def test_lists_change_with_every_write(live: LiveServer) -> None:
    """The joined bytes of a list are cached, and never served after the next write."""
    for count in range(3):
        listing = (await live.get("/api/v1/configmaps")).expect(200)
        mine = [i["metadata"]["name"] for i in listing["items"] if i["metadata"]["namespace"] == "default"]
        assert [name for name in mine if name.startswith("l-")] == [f"l-{n}" for n in range(count)]
        made = await live.create(kinds.CONFIG_MAPS, config_map(f"l-{count}"))
        assert int(made["metadata"]["resourceVersion"]) > int(listing["metadata"]["resourceVersion"])


async def test_a_list_in_pages(live: LiveServer) -> None:
    for count in range(5):
        await live.create(kinds.CONFIG_MAPS, config_map(f"page-{count}") | {"data": {}})
    names, token = [], ""
    while True:
        page = (await live.get(f"{CONFIG_MAPS}?limit=2&continue={token}")).expect(200)
        names += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert [name for name in names if name.startswith("page-")] == [f"page-{n}" for n in range(5)]


async def test_tables_and_metadata(live: LiveServer) -> None:
    await live.create(kinds.CONFIG_MAPS, config_map("a", x="1", y="2"))
    table = (await live.get(f"{CONFIG_MAPS}/a", headers={"Accept": TABLE})).expect(200)
    assert table["kind"] == "Table"
    assert table["rows"][0]["cells"][:2] == ["a", 2]
    listed = (await live.get(CONFIG_MAPS, headers={"Accept": TABLE})).expect(200)
    assert [c["name"] for c in listed["columnDefinitions"]] == ["Name", "Data", "Age"]
    partial = (await live.get(f"{CONFIG_MAPS}/a", headers={"Accept": PARTIAL})).expect(200)
    assert set(partial) == {"kind", "apiVersion", "metadata"}
    partials = (await live.get(CONFIG_MAPS, headers={"Accept": PARTIAL_LIST})).expect(200)
    assert partials["kind"] == "PartialObjectMetadataList"


async def test_yaml_in_and_out(live: LiveServer) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: y\ndata:\n  k: v\n"
    headers = {"Content-Type": "application/yaml", "Accept": "application/yaml"}
    reply = await live.call("POST", CONFIG_MAPS, data=body, headers=headers)
    assert reply.status == 201
    assert reply.headers["Content-Type"] == "application/yaml"
    assert b"k: v" in reply.text


async def test_protobuf_is_passed_over_where_json_is_accepted_too(live: LiveServer) -> None:
    accept = "application/vnd.kubernetes.protobuf,application/json"
    assert (await live.get("/api/v1/nodes", headers={"Accept": accept})).expect(200)["kind"] == "NodeList"


async def test_big_answers_are_compressed_for_those_who_ask(live: LiveServer) -> None:
    await live.create(kinds.CONFIG_MAPS, config_map("big", x="x" * 200_000))
    session = live.session(live.pki.admin.certificate, live.pki.admin.key, unpack=False)
    async with session.get(f"{live.url}{CONFIG_MAPS}", headers={"Accept-Encoding": "gzip"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        packed = await response.read()
    assert len(packed) < 10_000
    assert orjson.loads(gzip.decompress(packed))["kind"] == "ConfigMapList"


async def test_long_answers_come_whole_and_the_connection_goes_on(live: LiveServer) -> None:
    """A megabyte in chunks, its length told before; several requests on one connection."""
    for number in range(5):
        await live.create(kinds.CONFIG_MAPS, config_map(f"long-{number}", x="x" * 200_000))
    session = live.session(live.pki.admin.certificate, live.pki.admin.key, unpack=False)
    for _ in range(3):
        async with session.get(
            f"{live.url}{CONFIG_MAPS}", headers={"Accept-Encoding": "identity"}
        ) as response:
            text = await response.read()
        assert response.headers["Content-Length"] == str(len(text))
        assert "Content-Encoding" not in response.headers
        names = [item["metadata"]["name"] for item in orjson.loads(text)["items"]]
        assert [name for name in names if name.startswith("long-")] == [f"long-{n}" for n in range(5)]


async def test_a_client_that_leaves_in_the_middle_of_an_answer_harms_nothing(live: LiveServer) -> None:
    for number in range(20):
        await live.create(kinds.CONFIG_MAPS, config_map(f"long-{number}", x="x" * 500_000))
    session = live.session(live.pki.admin.certificate, live.pki.admin.key, unpack=False)
    for _ in range(3):
        async with session.get(
            f"{live.url}{CONFIG_MAPS}", headers={"Accept-Encoding": "identity"}
        ) as response:
            await response.content.readexactly(1000)
            response.close()
    assert len((await live.get(CONFIG_MAPS)).expect(200)["items"]) >= 20


async def test_health_version_and_metrics(live: LiveServer) -> None:
    assert (await live.get("/readyz", token="")).text == b"ok"
    assert b"[+]ping ok" in (await live.get("/livez?verbose")).text
    assert b"[+]ping excluded: ok" in (await live.get("/livez?verbose&exclude=ping")).text
    assert (await live.get("/healthz/ping")).text == b"ok"
    assert (await live.get("/version")).expect(200)["gitVersion"].startswith("v1.37.")
    metrics = (await live.get("/metrics")).text.decode()
    assert 'apiserver_request_total{component="apiserver",verb="GET"' in metrics
    assert 'apiserver_storage_objects{resource="namespaces"}' in metrics


async def test_a_bug_is_a_500_with_a_status(live: LiveServer, monkeypatch: Any) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(live.plane.verbs, "get", broken, raising=False)
    reply = await live.get(f"{CONFIG_MAPS}/a")
    assert reply.expect(500)["message"] == "Internal error occurred: boom"
