"""Service account tokens for pods: an agent's `TokenWanted` becomes a TokenRequest bound to the pod."""

from __future__ import annotations

from cluster.api import kinds
from cluster.api.client import ApiClient
from cluster.api.errors import ApiError
from cluster.api.objects import Object
from cluster.api.wire import TokenIssued, TokenWanted


async def issue(client: ApiClient, pod: Object | None, message: TokenWanted) -> TokenIssued:
    """The answer; never raises for what the API refuses."""
    if pod is None:
        return TokenIssued(id=message.id, error=f"pod with uid {message.uid} is not on this node")
    meta = pod["metadata"]
    account = pod["spec"].get("serviceAccountName") or "default"
    body: Object = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": [message.audience] if message.audience else [],
            "expirationSeconds": message.expires_s,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]},
        },
    }
    try:
        answer = await client.create(
            kinds.SERVICE_ACCOUNTS, body, namespace=meta["namespace"], subresource="token", name=account
        )
    except ApiError as error:
        return TokenIssued(id=message.id, error=str(error))
    status = answer["status"]
    return TokenIssued(id=message.id, token=status["token"], expires=status["expirationTimestamp"])
