"""Each namespace has a ConfigMap kube-root-ca.crt with the certificate authority of the API server, which
pods mount beside their token. Whoever changes or deletes it gets it back."""

from __future__ import annotations

from cluster.api import kinds
from cluster.api.errors import AlreadyExists, ApiError
from cluster.api.objects import Key
from cluster.controllers.per_namespace import watch_namespaces
from cluster.reconcile.loop import Controller
from cluster.reconcile.pod_control import is_namespace_terminating
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "root-ca-cert-publisher"
CONFIG_MAP = "kube-root-ca.crt"
DESCRIPTION = {
    "kubernetes.io/description": (
        "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints "
        "such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across "
        "distributions of Kubernetes clusters."
    )
}


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    maps = world.informers.of(kinds.CONFIG_MAPS)
    return Controller(
        RootCertificates(world), queue, watches=watch_namespaces(queue, world.informers, maps, CONFIG_MAP)
    )


class RootCertificates:
    name = NAME

    def __init__(self, world: World) -> None:
        self._client = world.client_as(NAME)
        self._data = {"ca.crt": world.cluster_ca}
        self._namespaces = world.informers.of(kinds.NAMESPACES)
        self._maps = world.informers.of(kinds.CONFIG_MAPS)

    async def reconcile(self, key: Key) -> float | None:
        namespace = self._namespaces.get(key)
        if namespace is None or "deletionTimestamp" in namespace["metadata"]:
            return None
        present = self._maps.get(Key(key.name, CONFIG_MAP))
        if present is not None:
            annotations = present["metadata"].get("annotations") or {}
            if present.get("data") != self._data or not DESCRIPTION.items() <= annotations.items():
                meta = present["metadata"] | {"annotations": annotations | DESCRIPTION}
                body = present | {"metadata": meta, "data": self._data}
                await self._client.update(kinds.CONFIG_MAPS, body)
            return None
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CONFIG_MAP, "namespace": key.name, "annotations": dict(DESCRIPTION)},
            "data": self._data,
        }
        try:
            await self._client.create(kinds.CONFIG_MAPS, body, namespace=key.name)
        except AlreadyExists:
            return None
        except ApiError as error:
            if not is_namespace_terminating(error):
                raise
        return None
