"""Secrets that ask for a service account's token."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Callable
from typing import Any

from live_server import LiveServer, Reply

from cluster.api import kinds

SECRETS = "/api/v1/namespaces/default/secrets"
TYPE = "kubernetes.io/service-account-token"


async def until(live: LiveServer, path: str, holds: Callable[[Reply], Any]) -> Reply:
    for _ in range(600):
        reply = await live.get(path)
        if holds(reply):
            return reply
        await asyncio.sleep(0.05)
    raise AssertionError(f"{path} never came to that: {reply.text.decode()}")


def asking(name: str, account: str) -> dict[str, Any]:
    metadata = {"name": name, "annotations": {"kubernetes.io/service-account.name": account}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": TYPE}


async def account(live: LiveServer, name: str) -> Any:
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    return await live.create(kinds.SERVICE_ACCOUNTS, body)


async def test_a_token_secret_is_filled_and_works_as_long_as_it_exists(live: LiveServer) -> None:
    robot = await account(live, "robot")
    await live.create(kinds.SECRETS, asking("t", "robot"))
    reply = await until(live, f"{SECRETS}/t", lambda found: (found.json.get("data") or {}).get("token"))
    secret = reply.expect(200)
    annotations = secret["metadata"]["annotations"]
    assert annotations["kubernetes.io/service-account.uid"] == robot["metadata"]["uid"]
    data = {name: b64decode(value) for name, value in secret["data"].items()}
    assert (data["namespace"], data["ca.crt"]) == (b"default", live.pki.authority_pem)
    token = data["token"].decode()
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    who = (await live.call("POST", path, review, token=token)).expect(201)["status"]["userInfo"]
    assert who["username"] == "system:serviceaccount:default:robot"
    (await live.call("DELETE", f"{SECRETS}/t")).expect(200)
    assert (await live.call("POST", path, review, token=token)).status == 401


async def test_a_token_secret_goes_with_its_account(live: LiveServer) -> None:
    await account(live, "robot")
    await live.create(kinds.SECRETS, asking("t", "robot"))
    await until(live, f"{SECRETS}/t", lambda found: (found.json.get("data") or {}).get("token"))
    (await live.call("DELETE", "/api/v1/namespaces/default/serviceaccounts/robot")).expect(200)
    await until(live, f"{SECRETS}/t", lambda found: found.status == 404)


async def test_a_token_secret_of_nobody_is_removed(live: LiveServer) -> None:
    await live.create(kinds.SECRETS, asking("t", "nobody"))
    await until(live, f"{SECRETS}/t", lambda found: found.status == 404)
