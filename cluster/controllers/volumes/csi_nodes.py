"""A CSINode for each Node, on which the emulated driver is registered.

A node's kubelet makes it in Kubernetes; here this controller does, so that emulated nodes need not. It goes
with its Node. Drivers that somebody else registers stay.
"""

from __future__ import annotations

from cluster.api import kinds
from cluster.api.errors import AlreadyExists
from cluster.api.objects import Key, Object
from cluster.controllers.volumes.provisioner import DRIVER
from cluster.reconcile.informer import Handler
from cluster.reconcile.loop import Controller
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "csi-node-registrar"


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    nodes, registered = world.informers.of(kinds.NODES), world.informers.of(kinds.CSI_NODES)
    return Controller(
        CSINodes(world), queue, watches=[(nodes, _comes(queue)), (registered, _changes(queue))], workers=1
    )


def _comes(queue: WorkQueue[Key]) -> Handler:
    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        if old is None and new is not None:
            queue.add(Key("", new["metadata"]["name"]), cause)

    return handler


def _changes(queue: WorkQueue[Key]) -> Handler:
    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        if old is not None:
            queue.add(Key("", old["metadata"]["name"]), cause)

    return handler


class CSINodes:
    name = NAME

    def __init__(self, world: World) -> None:
        self._client = world.client_as(NAME)
        self._nodes = world.informers.of(kinds.NODES)
        self._registered = world.informers.of(kinds.CSI_NODES)

    async def reconcile(self, key: Key) -> float | None:
        node, present = self._nodes.get(key), self._registered.get(key)
        if node is None:
            return None
        drivers = present["spec"].get("drivers") or [] if present is not None else []
        if any(driver["name"] == DRIVER for driver in drivers):
            return None
        ours = {"name": DRIVER, "nodeID": key.name, "topologyKeys": ["kubernetes.io/hostname"]}
        if present is not None:
            body = present | {"spec": present["spec"] | {"drivers": [*drivers, ours]}}
            await self._client.update(kinds.CSI_NODES, body)
            return None
        owner = {"apiVersion": "v1", "kind": "Node", "name": key.name, "uid": node["metadata"]["uid"]}
        created = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSINode",
            "metadata": {"name": key.name, "ownerReferences": [owner]},
            "spec": {"drivers": [ours]},
        }
        try:
            await self._client.create(kinds.CSI_NODES, created)
        except AlreadyExists:
            return 1.0
        return None
