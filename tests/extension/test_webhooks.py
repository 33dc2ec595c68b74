"""Admission webhooks over real HTTPS: who is asked, what they may do, and what happens when they fail."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from aiohttp import web
from live_server import LiveServer

from cluster.api.kinds import (
    CONFIG_MAPS,
    MUTATING_WEBHOOK_CONFIGURATIONS,
    VALIDATING_WEBHOOK_CONFIGURATIONS,
)
from cluster.api.objects import Object

MAPS = CONFIG_MAPS.path("default")
MUTATING = MUTATING_WEBHOOK_CONFIGURATIONS.path()
VALIDATING = VALIDATING_WEBHOOK_CONFIGURATIONS.path()
Answer = Callable[[Object], Object]


class HookServer:
    """Answers each path with its function, and remembers what it was asked."""

    def __init__(self, port: int, bundle: str) -> None:
        self.asked: list[Object] = []
        self.answers: dict[str, Answer] = {}
        self.port = port
        self._bundle = bundle

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        review = orjson.loads(await request.read())
        self.asked.append(review["request"])
        answer = self.answers[request.path](review["request"])
        response = {"uid": review["request"]["uid"], **answer}
        body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        return web.json_response(body)

    def hook(self, path: str, answer: Answer, **more: Any) -> Object:
        self.answers[path] = answer
        client = {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": self._bundle}
        return hook(f"{path[1:]}.example.com", client, **more)


def hook(name: str, client: Object, **more: Any) -> Object:
    return {
        "name": name,
        "clientConfig": client,
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
        ],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **more,
    }


def patching(**data: str) -> Answer:
    operations = [{"op": "add", "path": f"/data/{name}", "value": value} for name, value in data.items()]
    patch = b64encode(orjson.dumps(operations)).decode()
    return lambda request: {"allowed": True, "patchType": "JSONPatch", "patch": patch}


@pytest.fixture
async def hooks(server: LiveServer) -> AsyncIterator[HookServer]:
    """With the API server's own certificate, which is for 127.0.0.1."""
    bundle = b64encode(server.pki.authority_pem).decode()
    made = HookServer(0, bundle)
    runner = web.ServerRunner(web.Server(made.handle))
    await runner.setup()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.pki.server.certificate, server.pki.server.key)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    made.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    yield made
    await runner.cleanup()


async def configure(server: LiveServer, path: str, *hooks: Object) -> None:
    (await server.call("POST", path, {"metadata": {"name": "h"}, "webhooks": list(hooks)})).expect(201)


def config(name: str = "c", **data: str) -> Object:
    return {"metadata": {"name": name, "labels": {"team": "a"}}, "data": data}


async def test_mutating_webhooks_change_in_turn_and_are_asked_again(
    server: LiveServer, hooks: HookServer
) -> None:
    """The first is asked again because the second changed the object after it."""
    first = hooks.hook("/first", patching(first="1"), reinvocationPolicy="IfNeeded")
    await configure(server, MUTATING, first, hooks.hook("/second", patching(second="2")))
    made = (await server.call("POST", MAPS, config(own="0"))).expect(201)
    assert made["data"] == {"own": "0", "first": "1", "second": "2"}
    assert [r["object"]["data"] for r in hooks.asked] == [
        {"own": "0"}, {"own": "0", "first": "1"}, {"own": "0", "first": "1", "second": "2"},
    ]  # fmt: skip
    asked = hooks.asked[0]
    assert (asked["operation"], asked["name"], asked["namespace"]) == ("CREATE", "c", "default")
    assert asked["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert asked["userInfo"]["username"] == "kubernetes-admin"
    assert asked["dryRun"] is False
    assert asked["oldObject"] is None


async def test_validating_webhooks_deny_and_warn(server: LiveServer, hooks: HookServer) -> None:
    def judge(request: Object) -> Object:
        if "bad" in request["object"]["data"]:
            return {"allowed": False, "status": {"message": "bad data", "code": 403}}
        return {"allowed": True, "warnings": ["careful"]}

    await configure(server, VALIDATING, hooks.hook("/judge", judge))
    allowed = await server.call("POST", MAPS, config(good="1"))
    assert allowed.status == 201
    assert allowed.headers["Warning"] == '299 - "careful"'
    denied = await server.call("POST", MAPS, config("d", bad="1"))
    assert denied.status == 403
    assert denied.json["message"] == 'admission webhook "judge.example.com" denied the request: bad data'


async def test_selectors_and_conditions_decide_who_is_asked(server: LiveServer, hooks: HookServer) -> None:
    refuse: Answer = lambda request: {"allowed": False}  # noqa: E731
    await configure(
        server, VALIDATING,
        hooks.hook("/labels", refuse, objectSelector={"matchLabels": {"team": "b"}}),
        hooks.hook("/spaces", refuse, namespaceSelector={"matchLabels": {"no": "such"}}),
        hooks.hook(
            "/condition", refuse,
            matchConditions=[{"name": "big", "expression": "object.metadata.name.startsWith('big')"}],
        ),
    )  # fmt: skip
    (await server.call("POST", MAPS, config())).expect(201)
    assert hooks.asked == []
    denied = await server.call("POST", MAPS, config("big"))
    assert denied.status == 400
    assert denied.json["message"] == (
        'admission webhook "condition.example.com" denied the request without explanation'
    )


@pytest.mark.parametrize(("policy", "status"), [("Fail", 500), ("Ignore", 201)])
async def test_an_unreachable_webhook_follows_its_failure_policy(
    server: LiveServer, policy: str, status: int
) -> None:
    client = {"service": {"namespace": "default", "name": "nowhere", "path": "/x"}}
    await configure(server, VALIDATING, hook("gone.example.com", client, failurePolicy=policy))
    made = await server.call("POST", MAPS, config())
    assert made.status == status
    if status == 500:
        assert made.json["message"] == (
            'Internal error occurred: failed calling webhook "gone.example.com": failed to call webhook: '
            'Post "https://nowhere.default.svc:443/x?timeout=10s": service "nowhere" not found'
        )


async def test_a_server_that_is_not_there_is_named(server: LiveServer) -> None:
    """In the words that people know from Kubernetes."""
    await configure(server, VALIDATING, hook("gone.example.com", {"url": "https://127.0.0.1:1/x"}))
    made = (await server.call("POST", MAPS, config())).expect(500)
    assert made["message"].endswith(
        'Post "https://127.0.0.1:1/x?timeout=10s": dial tcp 127.0.0.1:1: connect: connection refused'
    )
