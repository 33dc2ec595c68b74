"""Webhooks of a test's own: what they answer, and how configurations name them (through a Service)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web
from live_server import LiveServer, Reply
from own_server import OwnServer

from cluster.api.kinds import MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS
from cluster.api.objects import Object

MUTATING = MUTATING_WEBHOOK_CONFIGURATIONS.path()
VALIDATING = VALIDATING_WEBHOOK_CONFIGURATIONS.path()
PORT = 8443
Answer = Callable[[Object], Object]


def rule(
    *resources: str, group: str = "", version: str = "v1", operations: tuple[str, ...] = ("CREATE",)
) -> Object:
    return {
        "apiGroups": [group], "apiVersions": [version], "operations": list(operations),
        "resources": list(resources),
    }  # fmt: skip


class Hooks:
    """`asked` has each request that came, in order."""

    def __init__(self, own: OwnServer) -> None:
        self._own = own
        self.asked: list[Object] = []

    def hook(
        self,
        name: str,
        answer: Answer,
        *rules: Object,
        wait: Callable[[], Awaitable[Any]] | None = None,
        **more: Any,
    ) -> Object:
        """`wait`: what happens before it answers."""

        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            asked = orjson.loads(await request.read())["request"]
            self.asked.append(asked)
            if wait is not None:
                await wait()
            body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
            return web.json_response({**body, "response": {"uid": asked["uid"], **answer(asked)}})

        self._own.handlers[f"/{name}"] = handler
        return {
            "name": f"{name}.example.com", "clientConfig": self._own.by_service(f"/{name}", PORT),
            "rules": list(rules or (rule("configmaps"),)), "sideEffects": "None", "admissionReviewVersions": ["v1"],
            **more,
        }  # fmt: skip


def allow(request: Object) -> Object:
    return {"allowed": True}


def deny(message: str) -> Answer:
    return lambda request: {"allowed": False, "status": {"message": message}}


def patches(*operations: Object) -> Answer:
    patch = b64encode(orjson.dumps(list(operations))).decode()
    return lambda request: {"allowed": True, "patchType": "JSONPatch", "patch": patch}


def add(path: str, value: Any) -> Object:
    return {"op": "add", "path": path, "value": value}


async def configured(server: LiveServer, path: str, *hooks: Object, name: str = "h", **labels: str) -> Object:
    body = {"metadata": {"name": name, "labels": labels}, "webhooks": list(hooks)}
    found: Object = (await server.call("POST", path, body)).expect(201)
    return found


async def create(server: LiveServer, path: str, name: str, **body: Any) -> Reply:
    return await server.call("POST", path, {"metadata": {"name": name}, **body})
