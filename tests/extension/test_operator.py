"""A kopf operator with a custom kind: handlers run, results are kept, finalizers come and go."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from extended import CRONTABS, crontab, define, definition, patch
from live_server import LiveServer

from cluster.api.objects import Object

OPERATOR = Path(__file__).with_name("operator_of_crontabs.py")


async def eventually(server: LiveServer, path: str, wanted: Callable[[Object], bool]) -> Object:
    for _ in range(300):
        reply = await server.get(path)
        if reply.status in (200, 404) and wanted(reply.json):
            return dict(reply.json)
        await asyncio.sleep(0.05)
    raise AssertionError(reply.text)


@pytest.mark.services
async def test_a_kopf_operator_follows_its_kind(server: LiveServer) -> None:
    body = definition()
    version = body["spec"]["versions"][0]
    version["subresources"] = {"status": {}}
    version["schema"]["openAPIV3Schema"]["properties"]["status"] = {
        "type": "object", "x-kubernetes-preserve-unknown-fields": True,
    }  # fmt: skip
    await define(server, body)
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kopf", "run", "--standalone", "--namespace", "default", str(OPERATOR),
        env=environment,
    )  # fmt: skip
    try:
        (await server.call("POST", CRONTABS, crontab())).expect(201)
        one = f"{CRONTABS}/one"
        made = await eventually(server, one, lambda obj: "create" in obj.get("status", {}))
        assert made["status"]["create"] == {"image": "busybox"}
        assert made["metadata"]["finalizers"] == ["crontabs.example.com/kopf"]
        (await patch(server, one, {"spec": {"replicas": 4}})).expect(200)
        await eventually(server, one, lambda obj: obj.get("status", {}).get("scaled") == 4)
        events = await eventually(
            server, "/api/v1/namespaces/default/events", lambda found: len(found["items"]) > 0
        )
        assert {event["involvedObject"]["kind"] for event in events["items"]} >= {"CronTab"}
        (await server.call("DELETE", one)).expect(200)
        await eventually(server, one, lambda obj: obj.get("code") == 404)
    finally:
        process.terminate()
        await process.wait()
