"""Secrets of type kubernetes.io/service-account-token, made by hand, get the token of their account.

The secret names the account in an annotation; it gets the token, the certificate authority and the namespace
as data, and goes when its account goes or is another one of the same name. The token holds as long as both
exist.

Divergence: it is a token like those of TokenRequest, bound to the secret, where Kubernetes still writes its
older form without an end; this one ends after 136 years.
"""

from __future__ import annotations

from base64 import b64encode

from cluster.api import kinds
from cluster.api.errors import NotFound
from cluster.api.objects import Key, Object
from cluster.reconcile.loop import Controller, Watch
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "tokens-controller"
TYPE = "kubernetes.io/service-account-token"
ACCOUNT, ACCOUNT_UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
FOREVER_S = 1 << 32
_BY_ACCOUNT = "token-secret-of-account"


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    secrets, accounts = world.informers.of(kinds.SECRETS), world.informers.of(kinds.SERVICE_ACCOUNTS)
    secrets.add_index(_BY_ACCOUNT, _accounts_of)

    def secret_changed(old: Object | None, new: Object | None, cause: str) -> None:
        if new is not None and new.get("type") == TYPE:
            queue.add(Key(new["metadata"]["namespace"], new["metadata"]["name"]), cause)

    def account_changed(old: Object | None, new: Object | None, cause: str) -> None:
        metadata = (new or old or {})["metadata"]
        for secret in secrets.by_index(_BY_ACCOUNT, f"{metadata['namespace']}/{metadata['name']}"):
            queue.add(Key(metadata["namespace"], secret["metadata"]["name"]), cause)

    watches: list[Watch] = [(secrets, secret_changed), (accounts, account_changed)]
    return Controller(AccountTokens(world), queue, watches=watches)


def _accounts_of(secret: Object) -> tuple[str, ...]:
    if secret.get("type") != TYPE:
        return ()
    metadata = secret["metadata"]
    return (f"{metadata['namespace']}/{(metadata.get('annotations') or {}).get(ACCOUNT, '')}",)


class AccountTokens:
    name = NAME

    def __init__(self, world: World) -> None:
        self._client = world.client_as(NAME)
        self._secrets = world.informers.of(kinds.SECRETS)
        self._accounts = world.informers.of(kinds.SERVICE_ACCOUNTS)
        self._authority = b64encode(world.cluster_ca.encode()).decode()

    async def reconcile(self, key: Key) -> float | None:
        secret = self._secrets.get(key)
        if secret is None or "deletionTimestamp" in secret["metadata"]:
            return None
        metadata = secret["metadata"]
        annotations = metadata.get("annotations") or {}
        account = await self._account(Key(key.namespace, annotations.get(ACCOUNT, "")))
        if account is None or annotations.get(ACCOUNT_UID, account) != account:
            await self._delete(key, metadata["uid"])
            return None
        data = secret.get("data") or {}
        if not data.get("token") or ACCOUNT_UID not in annotations or self._lacks(key, data):
            body = {**secret, "metadata": {**metadata, "annotations": {**annotations, ACCOUNT_UID: account}}}
            await self._client.update(kinds.SECRETS, {**body, "data": await self._filled(secret, data)})
        return None

    async def _account(self, key: Key) -> str | None:
        """The uid of a living account; asked of the API where the informer knows none."""
        account = self._accounts.get(key)
        if account is None:
            try:
                account = await self._client.get(kinds.SERVICE_ACCOUNTS, key.name, namespace=key.namespace)
            except NotFound:
                return None
        uid: str = account["metadata"]["uid"]
        return uid

    def _lacks(self, key: Key, data: Object) -> bool:
        return data.get("ca.crt") != self._authority or data.get("namespace") != _encoded(key.namespace)

    async def _filled(self, secret: Object, data: Object) -> Object:
        metadata = secret["metadata"]
        token = data.get("token") or _encoded(await self._token(metadata))
        return {
            **data,
            "ca.crt": self._authority,
            "namespace": _encoded(metadata["namespace"]),
            "token": token,
        }

    async def _token(self, metadata: Object) -> str:
        bound = {"apiVersion": "v1", "kind": "Secret", "name": metadata["name"], "uid": metadata["uid"]}
        answer = await self._client.create(
            kinds.SERVICE_ACCOUNTS,
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": FOREVER_S, "boundObjectRef": bound},
            },
            namespace=metadata["namespace"],
            subresource="token",
            name=metadata["annotations"][ACCOUNT],
        )
        token: str = answer["status"]["token"]
        return token

    async def _delete(self, key: Key, uid: str) -> None:
        try:
            await self._client.delete(kinds.SECRETS, key.name, namespace=key.namespace, uid=uid)
        except NotFound:
            return


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()
