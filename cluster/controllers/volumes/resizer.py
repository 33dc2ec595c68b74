"""Lets bound claims of the emulated class grow: first the volume's capacity, then what the claim says it has.

Divergence: file systems of emulated volumes need no growing on the node, so there is no
FileSystemResizePending in between.
"""

from __future__ import annotations

from cluster.api import kinds
from cluster.api.objects import Key, Object
from cluster.api.quantity import parse
from cluster.controllers.volumes.provisioner import PROVISIONER
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.volumes import PROVISIONED_BY, annotations_of, storage_of
from cluster.reconcile.world import World

NAME = "emulated-resizer"


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    claims = world.informers.of(kinds.PERSISTENT_VOLUME_CLAIMS)
    volumes = world.informers.of(kinds.PERSISTENT_VOLUMES)
    return Controller(Resizer(world), queue, watches=[(claims, enqueue(queue))], needs=[volumes], workers=1)


def wants_more(claim: Object) -> bool:
    status = claim.get("status") or {}
    has = (status.get("capacity") or {}).get("storage")
    return status.get("phase") == "Bound" and has is not None and parse(storage_of(claim)) > parse(has)


class Resizer:
    name = NAME

    def __init__(self, world: World) -> None:
        self._client = world.client_as(NAME)
        self._recorder = world.recorder(PROVISIONER)
        self._claims = world.informers.of(kinds.PERSISTENT_VOLUME_CLAIMS)
        self._volumes = world.informers.of(kinds.PERSISTENT_VOLUMES)

    async def reconcile(self, key: Key) -> float | None:
        claim = self._claims.get(key)
        if claim is None or not wants_more(claim):
            return None
        volume = self._volumes.get(Key("", claim["spec"].get("volumeName", "")))
        if volume is None or annotations_of(volume).get(PROVISIONED_BY) != PROVISIONER:
            return None
        name = volume["metadata"]["name"]
        text = f"External resizer is resizing volume {name}"
        self._recorder.event(claim, "Normal", "Resizing", text)
        size = storage_of(claim)
        if parse(volume["spec"]["capacity"]["storage"]) < parse(size):
            change = {"spec": {"capacity": {"storage": size}}}
            await self._client.patch(kinds.PERSISTENT_VOLUMES, name, change)
        status = {"capacity": {"storage": size}, "allocatedResources": {"storage": size}}
        body = claim | {"status": claim["status"] | status}
        await self._client.update(kinds.PERSISTENT_VOLUME_CLAIMS, body, subresource="status")
        self._recorder.event(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded")
        return None
