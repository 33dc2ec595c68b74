"""The informers of one process, shared by all its controllers, and the client that keeps them current.

`WriteThrough` is the `ApiClient` that controllers get: each answer of a write is handed to the informer of
its resource before the writer sees it (see `informer`: read your own writes). A creation whose answer was
lost may have happened: its writer hears of the failure only after the watch had time to show the object, so
that it is not made twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from cluster.api.client import ApiClient, PatchType, Propagation, WatchEvent
from cluster.api.errors import ServerTimeout
from cluster.api.objects import Object, ObjectList
from cluster.api.resource import Resource
from cluster.reconcile.informer import Informer

Launch = Callable[[str, Coroutine[Any, Any, None]], None]

UNKNOWN_OUTCOME_S = 1.0
"""How long a watch may be behind the writes."""


class Informers:
    """One informer per resource, made when first asked for."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._informers: dict[str, Informer] = {}
        self._launch: Launch | None = None
        self._cancel: Callable[[str], None] | None = None

    def of(self, resource: Resource) -> Informer:
        """The informer of this resource; it runs as soon as `start` was called."""
        informer = self._informers.get(resource.qualified)
        if informer is None:
            informer = self._informers[resource.qualified] = Informer(self._client, resource)
            if self._launch is not None:
                self._launch(f"informer-{resource.qualified}", informer.run())
        return informer

    def start(self, launch: Launch, cancel: Callable[[str], None]) -> None:
        """Runs all informers, present and future, through `launch(name, coroutine)`."""
        self._launch, self._cancel = launch, cancel
        for name, informer in self._informers.items():
            launch(f"informer-{name}", informer.run())

    def stop(self) -> None:
        """The launcher is gone: informers made from now on wait for the next `start`."""
        self._launch = self._cancel = None

    def forget(self, resource: Resource) -> None:
        """Stops following a resource that is no longer served."""
        if self._informers.pop(resource.qualified, None) is not None and self._cancel is not None:
            self._cancel(f"informer-{resource.qualified}")

    def observe(self, resource: Resource, obj: Object, *, deleted: bool = False) -> None:
        """Hands the answer of a write to the informer of its resource, if there is one."""
        informer = self._informers.get(resource.qualified)
        if informer is not None and obj.get("kind") == resource.kind and "uid" in obj["metadata"]:
            informer.observe(obj, deleted=deleted)


class WriteThrough:
    """An `ApiClient` whose writes are seen by the informers at once."""

    def __init__(self, client: ApiClient, informers: Informers) -> None:
        self._client = client
        self._informers = informers

    def as_user(self, name: str) -> ApiClient:
        return WriteThrough(self._client.as_user(name), self._informers)

    async def get(
        self, resource: Resource, name: str, *, namespace: str = "", subresource: str = ""
    ) -> Object:
        return await self._client.get(resource, name, namespace=namespace, subresource=subresource)

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectList:
        return await self._client.list(
            resource, namespace=namespace, label_selector=label_selector, field_selector=field_selector
        )

    def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        revision: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        return self._client.watch(
            resource,
            namespace=namespace,
            revision=revision,
            label_selector=label_selector,
            field_selector=field_selector,
        )

    async def create(
        self, resource: Resource, body: Object, *, namespace: str = "", subresource: str = "", name: str = ""
    ) -> Object:
        try:
            created = await self._client.create(
                resource, body, namespace=namespace, subresource=subresource, name=name
            )
        except ServerTimeout:
            await asyncio.sleep(UNKNOWN_OUTCOME_S)
            raise
        if not subresource:
            self._informers.observe(resource, created)
        return created

    async def update(self, resource: Resource, body: Object, *, subresource: str = "") -> Object:
        updated = await self._client.update(resource, body, subresource=subresource)
        self._informers.observe(resource, updated)
        return updated

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        *,
        namespace: str = "",
        kind: PatchType = PatchType.MERGE,
        subresource: str = "",
        force: bool = False,
    ) -> Object:
        patched = await self._client.patch(
            resource,
            name,
            patch,
            namespace=namespace,
            kind=kind,
            subresource=subresource,
            force=force,
        )
        self._informers.observe(resource, patched)
        return patched

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str = "",
        uid: str = "",
        revision: str = "",
        grace_period_s: int | None = None,
        propagation: Propagation | None = None,
    ) -> Object:
        deleted = await self._client.delete(
            resource,
            name,
            namespace=namespace,
            uid=uid,
            revision=revision,
            grace_period_s=grace_period_s,
            propagation=propagation,
        )
        self._informers.observe(resource, deleted, deleted=is_gone(deleted))
        return deleted

    async def logs(
        self,
        name: str,
        *,
        namespace: str,
        container: str = "",
        previous: bool = False,
        tail: int | None = None,
    ) -> str:
        return await self._client.logs(
            name, namespace=namespace, container=container, previous=previous, tail=tail
        )


def is_gone(deleted: Object) -> bool:
    """Whether the object that a delete answered with is removed, and not only marked."""
    meta = deleted["metadata"]
    if not meta.get("deletionTimestamp"):
        return True
    if deleted.get("kind") == "Namespace" and deleted.get("spec", {}).get("finalizers"):
        return False
    return not meta.get("finalizers") and not meta.get("deletionGracePeriodSeconds")
