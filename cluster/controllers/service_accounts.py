"""Each namespace has a ServiceAccount named "default", which pods get that name no other."""

from __future__ import annotations

from cluster.api import kinds
from cluster.api.errors import AlreadyExists, ApiError
from cluster.api.objects import Key
from cluster.controllers.per_namespace import watch_namespaces
from cluster.reconcile.loop import Controller
from cluster.reconcile.pod_control import is_namespace_terminating
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "service-account-controller"


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    accounts = world.informers.of(kinds.SERVICE_ACCOUNTS)
    return Controller(
        ServiceAccounts(world), queue, watches=watch_namespaces(queue, world.informers, accounts, "default")
    )


class ServiceAccounts:
    name = NAME

    def __init__(self, world: World) -> None:
        self._client = world.client_as(NAME)
        self._namespaces = world.informers.of(kinds.NAMESPACES)
        self._accounts = world.informers.of(kinds.SERVICE_ACCOUNTS)

    async def reconcile(self, key: Key) -> float | None:
        namespace = self._namespaces.get(key)
        if namespace is None or "deletionTimestamp" in namespace["metadata"]:
            return None
        if self._accounts.get(Key(key.name, "default")) is not None:
            return None
        body = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": key.name},
        }
        try:
            await self._client.create(kinds.SERVICE_ACCOUNTS, body, namespace=key.name)
        except AlreadyExists:
            return None
        except ApiError as error:
            if not is_namespace_terminating(error):
                raise
        return None
