"""kubectl with custom kinds: apply, explain, columns, waiting."""

from __future__ import annotations

import sys
from pathlib import Path

import orjson
import pytest
from extended import crontab, define, definition
from live_server import LiveServer

from cluster.api.objects import Object


async def kubectl(server: LiveServer, *arguments: str, stdin: str = "") -> tuple[int, str]:
    return await server.kubectl(*arguments, binary=str(Path(sys.executable).parent / "kubectl"), stdin=stdin)


def columned() -> Object:
    body = definition()
    version = body["spec"]["versions"][0]
    version["subresources"] = {"status": {}}
    version["additionalPrinterColumns"] = [
        {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec", "description": "The schedule"},
        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
    ]
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["replicas"]["description"] = "How many"
    return body


async def test_kubectl_works_with_a_new_kind(server: LiveServer) -> None:
    """From the definition's manifest to a table with its columns, by short name and category."""
    code, text = await kubectl(server, "apply", "-f", "-", stdin=orjson.dumps(columned()).decode())
    assert (code, text) == (
        0,
        "customresourcedefinition.apiextensions.k8s.io/crontabs.stable.example.com created\n",
    )
    code, text = await kubectl(
        server, "wait", "--for=condition=established", "--timeout=5s", "crd/crontabs.stable.example.com"
    )
    assert code == 0, text
    code, text = await kubectl(server, "apply", "-f", "-", stdin=orjson.dumps(crontab(replicas=2)).decode())
    assert (code, text) == (0, "crontab.stable.example.com/one created\n")
    code, text = await kubectl(server, "get", "ct")
    assert [line.split() for line in text.splitlines()] == [
        ["NAME", "SPEC", "REPLICAS"], ["one", "*", "*", "*", "*", "*/5", "2"],
    ], text  # fmt: skip
    code, text = await kubectl(server, "explain", "crontab.spec.replicas")
    assert code == 0, text
    assert "How many" in text
    assert "<integer>" in text
    changed = crontab(replicas=99)
    code, text = await kubectl(server, "apply", "-f", "-", stdin=orjson.dumps(changed).decode())
    assert code == 1
    assert "spec.replicas in body should be less than or equal to 10" in text
    code, text = await kubectl(
        server, "apply", "--server-side", "-f", "-", stdin=orjson.dumps(crontab("two", wrong=1)).decode()
    )
    assert code == 1
    assert ".spec.wrong: field not declared in schema" in text
    code, text = await kubectl(
        server, "apply", "-f", "-", stdin=orjson.dumps(crontab("two", wrong=1)).decode()
    )
    assert code == 1
    assert 'unknown field "spec.wrong"' in text
    code, text = await kubectl(server, "get", "all")
    assert "crontab.stable.example.com/one" in text
    code, text = await kubectl(server, "delete", "crd", "crontabs.stable.example.com", "--timeout=10s")
    assert code == 0, text


ANYTHING: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
BAR: Object = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "description": "What a Foo should be",
            "required": ["bars"],
            "properties": {
                "bars": {
                    "type": "array",
                    "description": "List of Bars",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string", "description": "Name of Bar"},
                            "age": {"type": "string", "description": "Age of Bar"},
                        },
                    },
                }
            },
        }
    },
}


async def published(server: LiveServer, schema: Object) -> None:
    body = definition()
    body["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema
    await define(server, body)


def manifest(**fields: object) -> str:
    head = {"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": "one"}}
    return orjson.dumps({**head, **fields}).decode()


@pytest.mark.parametrize(
    ("schema", "fields", "explained", "said"),
    [
        (ANYTHING, {"any": [{"thing": 1}]}, "crontab", "KIND:       CronTab"),
        (
            {"type": "object", "properties": {"spec": ANYTHING}},
            {"spec": {"any": {"thing": 1}}},
            "crontab.spec",
            "FIELD: spec <Object>",
        ),
    ],
    ids=["at the schema root", "in an embedded object"],
)
async def test_kubectl_accepts_what_a_kind_preserves(
    server: LiveServer, schema: Object, fields: Object, explained: str, said: str
) -> None:
    """CustomResourcePublishOpenAPI works for CRD preserving unknown fields …, works for CRD without validation
    schema"""
    await published(server, schema)
    for verb in ("create", "apply"):
        code, text = await kubectl(server, verb, "-f", "-", stdin=manifest(**fields))
        assert code == 0, text
    code, text = await kubectl(server, "explain", explained)
    assert (code, said in text) == (0, True), text


async def test_kubectl_validates_and_explains_by_the_schema(server: LiveServer) -> None:
    """CustomResourcePublishOpenAPI works for CRD with validation schema"""
    await published(server, BAR)
    code, text = await kubectl(server, "create", "-f", "-", stdin=manifest(spec={"bars": [{"name": "n"}]}))
    assert code == 0, text
    for fields, wrong in (
        ({"spec": {"bars": [{"name": "n", "unknown": 1}]}}, 'unknown field "spec.bars[0].unknown"'),
        ({"spec": {"bars": [{"age": "10"}]}}, "spec.bars[0].name: Required value"),
    ):
        code, text = await kubectl(server, "apply", "-f", "-", stdin=manifest(**fields))
        assert (code, wrong in text) == (1, True), text
    for path, said in (("crontab.spec", "What a Foo should be"), ("crontab.spec.bars", "List of Bars")):
        code, text = await kubectl(server, "explain", path)
        assert (code, said in text) == (0, True), text
    code, text = await kubectl(server, "explain", "crontab.spec.nothing")
    assert (code, 'field "nothing" does not exist' in text) == (1, True), text
