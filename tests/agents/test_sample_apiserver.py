"""The emulated sample API server: discovery, and flunders that come and go."""

from __future__ import annotations

import json
from typing import Any

from test_agnhost import Bench, play

from agents import http

ROOT = "/apis/wardle.example.com/v1alpha1"
FLUNDERS = f"{ROOT}/namespaces/default/flunders"


async def call(bench: Bench, method: str, target: str, document: Any = None) -> tuple[int, Any]:
    body = b"" if document is None else json.dumps(document).encode()
    wanted = http.Request(method=method, target=target, headers=[("Host", "x")], body=body)
    answer = await http.fetch(bench.network, "10.0.0.1", 443, wanted)
    return answer.status, json.loads(answer.body)


def flunder(name: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "wardle.example.com/v1alpha1",
        "kind": "Flunder",
        "metadata": {"name": name, "labels": labels},
    }


def test_flunders_come_and_go() -> None:
    async def story(bench: Bench) -> None:
        await bench.start(image="gcr.io/kubernetes-e2e-test-images/sample-apiserver:1.17")
        code, created = await call(bench, "POST", FLUNDERS, flunder("a", app="x"))
        assert (code, created["metadata"]["namespace"]) == (201, "default")
        assert (await call(bench, "POST", FLUNDERS, flunder("a")))[1]["reason"] == "AlreadyExists"
        await call(bench, "POST", FLUNDERS, flunder("b"))
        _, listed = await call(bench, "GET", f"{ROOT}/flunders?labelSelector=app%3Dx")
        assert [item["metadata"]["name"] for item in listed["items"]] == ["a"]
        _, patched = await call(bench, "PATCH", f"{FLUNDERS}/a", {"spec": {"reference": "b"}})
        assert patched["spec"] == {"reference": "b"}
        stale = {**patched, "metadata": {**patched["metadata"], "resourceVersion": "1"}}
        assert (await call(bench, "PUT", f"{FLUNDERS}/a", stale))[0] == 409
        assert (await call(bench, "DELETE", f"{FLUNDERS}/a"))[1]["status"] == "Success"
        code, status = await call(bench, "GET", f"{FLUNDERS}/a")
        assert (code, status["message"]) == (404, 'flunders.wardle.example.com "a" not found')
        await call(bench, "DELETE", FLUNDERS)
        assert (await call(bench, "GET", FLUNDERS))[1]["items"] == []

    play(story)


def test_discovery_and_other_versions() -> None:
    async def story(bench: Bench) -> None:
        await bench.start(image="sample-apiserver:1.29")
        _, resources = await call(bench, "GET", ROOT)
        assert [(r["name"], r["namespaced"]) for r in resources["resources"]] == [
            ("fischers", False),
            ("flunders", True),
        ]
        assert (await call(bench, "GET", "/apis/wardle.example.com"))[1]["preferredVersion"][
            "version"
        ] == "v1beta1"
        await call(bench, "POST", FLUNDERS, flunder("a"))
        _, newer = await call(bench, "GET", f"{FLUNDERS.replace('v1alpha1', 'v1beta1')}/a")
        assert newer["apiVersion"] == "wardle.example.com/v1beta1"
        assert (await call(bench, "POST", FLUNDERS, ["no object"]))[0] == 400
        assert (await call(bench, "GET", f"{ROOT}/flunders?labelSelector=%21%21"))[0] == 400

    play(story)
