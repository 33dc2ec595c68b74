"""The emulated driver's attacher: what is to be attached is attached, what is to be detached goes.

It stands in for the external attacher that comes with every CSI driver, and knows its finalizer.
"""

from __future__ import annotations

from cluster.api import kinds
from cluster.api.objects import Key, Object
from cluster.controllers.volumes.provisioner import DRIVER
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "emulated-attacher"
FINALIZER = "external-attacher/emulated-kubemu-dev"


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    attached = world.informers.of(kinds.VOLUME_ATTACHMENTS)
    return Controller(Attacher(world), queue, watches=[(attached, enqueue(queue))], workers=1)


class Attacher:
    name = NAME

    def __init__(self, world: World) -> None:
        self._client = world.client_as(NAME)
        self._attached = world.informers.of(kinds.VOLUME_ATTACHMENTS)

    async def reconcile(self, key: Key) -> float | None:
        found = self._attached.get(key)
        if found is None or found["spec"]["attacher"] != DRIVER:
            return None
        meta = found["metadata"]
        finalizers = meta.get("finalizers") or []
        if "deletionTimestamp" in meta:
            if FINALIZER in finalizers:
                await self._write(found, [name for name in finalizers if name != FINALIZER])
            return None
        if FINALIZER not in finalizers:
            found = await self._write(found, [*finalizers, FINALIZER])
        if not found.get("status", {}).get("attached"):
            body = found | {"status": {"attached": True}}
            await self._client.update(kinds.VOLUME_ATTACHMENTS, body, subresource="status")
        return None

    async def _write(self, found: Object, finalizers: list[str]) -> Object:
        body = found | {"metadata": found["metadata"] | {"finalizers": finalizers}}
        return await self._client.update(kinds.VOLUME_ATTACHMENTS, body)
