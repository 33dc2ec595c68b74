"""The Service `kubernetes`, which is the API server itself: who deletes it or its endpoints gets them back.

The API server makes these objects when it starts (`cluster.server.bootstrap`). What they were then is
remembered here and put back: the Service where it is gone, its Endpoints and EndpointSlice also where they
say something else. With namespaces that a cluster has to have it is the same.
"""

from __future__ import annotations

from cluster.api import kinds
from cluster.api.errors import AlreadyExists, Conflict, Forbidden, NotFound
from cluster.api.objects import Key, Object
from cluster.api.resource import Resource
from cluster.reconcile.informer import Handler
from cluster.reconcile.loop import Controller
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "kubernetes-service-controller"
SERVICE = Key("default", "kubernetes")
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
RETRY_S = 1.0
_SERVER_SET = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")


def controller(world: World) -> Controller[Key]:
    """Its keys: the Service's; those of namespaces have no namespace."""
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    of = world.informers.of
    watches = [(of(resource), _on_change(queue, SERVICE)) for resource in _OWN]
    return Controller(
        KubernetesService(world), queue, watches=[*watches, (of(kinds.NAMESPACES), _on_namespace(queue))]
    )


_OWN = (kinds.SERVICES, kinds.ENDPOINTS, kinds.ENDPOINT_SLICES)


def _on_change(queue: WorkQueue[Key], wanted: Key) -> Handler:
    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        meta = (new or old or {})["metadata"]
        if meta["name"] == wanted.name and meta["namespace"] == wanted.namespace:
            queue.add(wanted, cause)

    return handler


def _on_namespace(queue: WorkQueue[Key]) -> Handler:
    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        name = (new or old or {})["metadata"]["name"]
        if new is None and name in NAMESPACES:
            queue.add(Key("", name), cause)

    return handler


class KubernetesService:
    name = NAME

    def __init__(self, world: World) -> None:
        self._client = world.client
        self._informers = {resource: world.informers.of(resource) for resource in _OWN}
        self._made: dict[Resource, Object] = {}

    async def reconcile(self, key: Key) -> float | None:
        try:
            if not key.namespace:
                body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": key.name}}
                await self._client.create(kinds.NAMESPACES, body)
                return None
            for resource in _OWN:
                await self._restore(resource)
        except AlreadyExists:
            return RETRY_S if key.namespace else None
        except (Conflict, NotFound, Forbidden):  # somebody is faster, or the namespace is on its way
            return RETRY_S
        return None

    async def _restore(self, resource: Resource) -> None:
        present = self._informers[resource].get(SERVICE)
        made = self._made.get(resource)
        if made is None:
            if present is not None:
                self._made[resource] = present
            return
        if present is None:
            meta = {name: value for name, value in made["metadata"].items() if name not in _SERVER_SET}
            body = {name: value for name, value in made.items() if name != "status"} | {"metadata": meta}
            await self._client.create(resource, body, namespace=SERVICE.namespace)
        elif resource is not kinds.SERVICES and _said(present) != _said(made):
            await self._client.update(resource, {**made, "metadata": present["metadata"]})


def _said(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name != "metadata"}
