"""`ApiClient` straight into the verbs: how everything in the controller manager's process calls the API.

No JSON is made or read, and structure is not checked again. What comes back is the store's own: never
mutate it. A caller may keep and change the body it passed.

Divergence: authorisation is not asked; what runs in this process is trusted with its own name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

from cluster.api.client import PatchType, Propagation, WatchEvent
from cluster.api.errors import ServiceUnavailable
from cluster.api.kinds import PODS
from cluster.api.objects import Object, ObjectList
from cluster.api.resource import Resource
from cluster.server.call import Call, DeleteOptions, ListOptions, User, WatchOptions
from cluster.server.streams import NodeStreams
from cluster.server.verbs import Verbs

Batch: TypeAlias = list[WatchEvent]
SYSTEM_GROUPS = ("system:masters", "system:authenticated")


class LocalClient:
    """Implements `cluster.api.client.ApiClient`."""

    def __init__(self, verbs: Verbs, user: str, *, streams: NodeStreams | None = None) -> None:
        self._verbs = verbs
        self._user = User(name=user, groups=SYSTEM_GROUPS)
        self._manager = user.rpartition(":")[2]
        self._streams = streams

    def as_user(self, name: str) -> LocalClient:
        return LocalClient(self._verbs, name, streams=self._streams)

    async def get(
        self, resource: Resource, name: str, *, namespace: str = "", subresource: str = ""
    ) -> Object:
        call = self._call(resource, namespace, name, subresource)
        return (await self._verbs.get(call)).object

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectList:
        options = ListOptions(label_selector=label_selector, field_selector=field_selector)
        listing = await self._verbs.list(self._call(resource, namespace), options)
        return ObjectList(items=[entry.object for entry in listing.entries], revision=listing.revision)

    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        revision: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[Batch]:
        options = WatchOptions(
            label_selector=label_selector, field_selector=field_selector, revision=revision
        )
        watch = await self._verbs.watch(self._call(resource, namespace), options)
        try:
            async for events in watch:
                yield [WatchEvent(event.type, event.object, event.cause) for event in events]
        finally:
            watch.close()

    async def create(
        self, resource: Resource, body: Object, *, namespace: str = "", subresource: str = "", name: str = ""
    ) -> Object:
        if not namespace and resource.namespaced:
            namespace = body.get("metadata", {}).get("namespace", "")
        call = self._call(resource, namespace, name, subresource)
        return (await self._verbs.create(call, body)).object

    async def update(self, resource: Resource, body: Object, *, subresource: str = "") -> Object:
        metadata = body["metadata"]
        call = self._call(resource, metadata.get("namespace", ""), metadata["name"], subresource)
        return (await self._verbs.update(call, body)).object

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
        call = self._call(resource, namespace, name, subresource)
        return (await self._verbs.patch(call, kind, patch, force=force)).object

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
        options = DeleteOptions(
            uid=uid, revision=revision, grace_period_s=grace_period_s, propagation=propagation
        )
        return (await self._verbs.delete(self._call(resource, namespace, name), options)).object

    async def logs(
        self,
        name: str,
        *,
        namespace: str,
        container: str = "",
        previous: bool = False,
        tail: int | None = None,
    ) -> str:
        if self._streams is None:
            raise ServiceUnavailable("no node gateway: logs can't be read")
        pod = await self.get(PODS, name, namespace=namespace)
        options: dict[str, Any] = {"previous": previous}
        if tail is not None:
            options["tail_lines"] = tail
        stream = await self._streams.open(pod, kind="log", container=container, options=options)
        chunks = []
        try:
            while (received := await stream.receive()) is not None:
                chunks.append(received[1])
        finally:
            await stream.close()
        return b"".join(chunks).decode(errors="replace")

    def _call(self, resource: Resource, namespace: str, name: str = "", subresource: str = "") -> Call:
        return Call(
            user=self._user,
            resource=resource,
            namespace=namespace,
            name=name,
            subresource=subresource,
            field_manager=self._manager,
            trusted=True,
        )
