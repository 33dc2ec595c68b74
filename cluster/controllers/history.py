"""ControllerRevisions: the numbered templates of DaemonSets and StatefulSets.

Each distinct template of a workload is one ControllerRevision, named by its hash; going back to an old
template raises that one's number instead of making another. The oldest that no pod uses go beyond
revisionHistoryLimit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.api import kinds
from cluster.api.client import ApiClient
from cluster.api.errors import AlreadyExists, Conflict, NotFound
from cluster.api.objects import Object, owner_reference
from cluster.api.resource import Resource
from cluster.reconcile.informer import Informer
from cluster.reconcile.owners import Claims, selector_of
from cluster.reconcile.template import hash_of

HASH_LABEL = "controller-revision-hash"


def data_of(workload: Object) -> Object:
    """What a revision remembers: the pod template, as a patch that replaces it. Its keys are in order, as Go
    writes them: clients that look for a workload's present revision compare bytes."""
    return {"spec": {"template": _in_order({**workload["spec"]["template"], "$patch": "replace"})}}


def _in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value)}
    return [_in_order(item) for item in value] if isinstance(value, list) else value


def ordered(revisions: Sequence[Object]) -> list[Object]:
    """Oldest number first."""
    return sorted(
        revisions,
        key=lambda r: (r["revision"], r["metadata"]["creationTimestamp"], r["metadata"]["name"]),
    )


def hash_label(revision: Object) -> str:
    labels = revision["metadata"].get("labels") or {}
    name: str = revision["metadata"]["name"]
    return str(labels.get(HASH_LABEL) or name.rpartition("-")[2])


@dataclass(frozen=True, slots=True)
class History:
    current: Object
    """The revision of the present template."""
    olds: list[Object]
    """The others, oldest number first."""


def superfluous(history: History, in_use: Collection[str], limit: int) -> list[Object]:
    """The revisions that nobody uses beyond the limit. `in_use`: their hashes and names."""
    unused = [
        each
        for each in history.olds
        if hash_label(each) not in in_use and each["metadata"]["name"] not in in_use
    ]
    return unused[: max(0, len(unused) - limit)]


class Revisions:
    """Keeps the history of one kind of workload."""

    def __init__(self, client: ApiClient, owners: Resource, revisions: Informer) -> None:
        self._client = client
        self._owners = owners
        self._claims = Claims(client, owners, revisions)

    async def sync(self, workload: Object) -> History:
        """The workload's history, with a revision for the present template (created if it is new)."""
        known = ordered(await self._claims.settle(workload, selector_of(workload)))
        data = data_of(workload)
        equal = [each for each in known if each["data"] == data]
        latest = known[-1]["revision"] if known else 0
        if not equal:
            current = await self._create(workload, data, latest + 1)
            return History(current, known)
        current = equal[-1]
        olds = [each for each in known if each is not current]
        if olds and current["revision"] <= olds[-1]["revision"]:
            current = await self._client.update(
                kinds.CONTROLLER_REVISIONS, current | {"revision": olds[-1]["revision"] + 1}
            )
        return History(current, olds)

    async def delete(self, revisions: Sequence[Object]) -> None:
        for each in revisions:
            meta = each["metadata"]
            try:
                await self._client.delete(
                    kinds.CONTROLLER_REVISIONS, meta["name"], namespace=meta["namespace"], uid=meta["uid"]
                )
            except NotFound:
                continue

    async def _create(self, workload: Object, data: Object, number: int) -> Object:
        meta = workload["metadata"]
        hashed = hash_of(data, workload.get("status", {}).get("collisionCount"))
        template = workload["spec"]["template"].get("metadata") or {}
        annotations = meta.get("annotations") or {}
        revision: Object = {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": f"{meta['name']}-{hashed}",
                "namespace": meta["namespace"],
                "labels": {**(template.get("labels") or {}), HASH_LABEL: hashed},
                "ownerReferences": [owner_reference(workload)],
            },
            "data": data,
            "revision": number,
        }
        if annotations:
            revision["metadata"]["annotations"] = dict(annotations)
        try:
            return await self._client.create(
                kinds.CONTROLLER_REVISIONS, revision, namespace=meta["namespace"]
            )
        except AlreadyExists:
            found = await self._client.get(
                kinds.CONTROLLER_REVISIONS, revision["metadata"]["name"], namespace=meta["namespace"]
            )
            if found["data"] == data:
                return found
            await self._count_collision(workload)
            raise Conflict(
                f'controller revision "{found["metadata"]["name"]}" has another template'
            ) from None

    async def _count_collision(self, workload: Object) -> None:
        """The next hash will be another one."""
        status = workload.get("status", {})
        counted = status | {"collisionCount": status.get("collisionCount", 0) + 1}
        await self._client.update(self._owners, workload | {"status": counted}, subresource="status")
