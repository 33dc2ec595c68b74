"""Definitions and an API server in the test's own loop, for tests of what clients add to the API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from live_server import LiveServer, Reply

from cluster.api.objects import Object

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CRONTABS = "/apis/stable.example.com/v1/namespaces/default/crontabs"


def definition(**spec: Any) -> Object:
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["cronSpec"],
                "properties": {
                    "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
                    "image": {"type": "string", "default": "busybox"},
                    "replicas": {"type": "integer", "minimum": 1, "maximum": 10},
                },
            },
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com",
            "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"], "categories": ["all"]},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
            **spec,
        },
    }


def crontab(name: str = "one", **spec: Any) -> Object:
    wanted = {"cronSpec": "* * * * */5", **spec}
    return {
        "apiVersion": "stable.example.com/v1",
        "kind": "CronTab",
        "metadata": {"name": name},
        "spec": wanted,
    }


async def define(server: LiveServer, body: Object) -> Object:
    (await server.call("POST", CRDS, body)).expect(201)
    return await established(server, body["metadata"]["name"])


async def established(server: LiveServer, name: str) -> Object:
    for _ in range(200):
        found: Object = (await server.get(f"{CRDS}/{name}")).expect(200)
        conditions = found["status"].get("conditions") or ()
        if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
            return found
        await asyncio.sleep(0)
    raise AssertionError(found)


async def patch(server: LiveServer, path: str, body: Any, kind: str = "merge-patch+json") -> Reply:
    import orjson

    return await server.call(
        "PATCH", path, data=orjson.dumps(body), headers={"Content-Type": f"application/{kind}"}
    )


async def until(look: Callable[[], Awaitable[Any]], within_s: float = 20) -> Any:
    """The first true result of `look`."""
    async with asyncio.timeout(within_s):
        while not (found := await look()):  # noqa: ASYNC110  nothing tells when
            await asyncio.sleep(0.01)
    return found
