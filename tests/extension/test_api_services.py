"""APIService objects follow what is served."""

from __future__ import annotations

import asyncio

from extended import CRDS, define, definition
from live_server import LiveServer

from cluster.api.kinds import API_SERVICES
from cluster.api.objects import Object

PATH = API_SERVICES.path()


async def available(server: LiveServer, name: str) -> Object:
    for _ in range(200):
        reply = await server.get(f"{PATH}/{name}")
        conditions = reply.json.get("status", {})
        if reply.status == 200 and isinstance(conditions, dict) and conditions.get("conditions"):
            found: Object = conditions["conditions"][0]
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(reply.text)


async def test_served_group_versions_are_available(server: LiveServer) -> None:
    """Built-in ones from the start, custom ones while their definition exists."""
    local = ("True", "Local", "Local APIServices are always available")
    found = await available(server, "v1.apps")
    assert (found["status"], found["reason"], found["message"]) == local
    await define(server, definition())
    await available(server, "v1.stable.example.com")
    (await server.call("DELETE", f"{CRDS}/crontabs.stable.example.com")).expect(200)
    for _ in range(200):
        if (await server.get(f"{PATH}/v1.stable.example.com")).status == 404:
            break
        await asyncio.sleep(0.01)
    assert (await server.get(f"{PATH}/v1.stable.example.com")).status == 404


async def test_a_missing_service_is_named(server: LiveServer) -> None:
    spec = {
        "group": "wardle.example.com", "version": "v1alpha1", "groupPriorityMinimum": 2000,
        "versionPriority": 200, "insecureSkipTLSVerify": True,
        "service": {"namespace": "default", "name": "sample"},
    }  # fmt: skip
    body = {"metadata": {"name": "v1alpha1.wardle.example.com"}, "spec": spec}
    (await server.call("POST", PATH, body)).expect(201)
    found = await available(server, "v1alpha1.wardle.example.com")
    assert (found["status"], found["reason"], found["message"]) == (
        "False", "ServiceNotFound", 'service/sample in "default" is not present',
    )  # fmt: skip
