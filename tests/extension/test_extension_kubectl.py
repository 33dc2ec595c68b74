"""kubectl with custom kinds: apply, explain, columns, waiting."""

from __future__ import annotations

import sys
from pathlib import Path

import orjson
from extended import crontab, definition
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
