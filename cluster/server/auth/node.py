"""The node authorizer: a node's own identity reaches its own objects only.

A node is a user `system:node:<name>` in the group system:nodes. It may read what every node needs, its own
Node and Lease, the pods bound to it, and those Secrets, ConfigMaps and claims that such a pod refers to.

Divergence: Kubernetes lets a node read every pod and node that it lists without a name; here lists and
watches of pods must be narrowed to the node by `spec.nodeName`, which kubelets do anyway; the check of
what a node may change in its objects (NodeRestriction) is part of the same decision.
"""

from __future__ import annotations

from collections.abc import Iterator

from cluster.api.objects import Key, Object
from cluster.server.auth.attributes import Attributes, Decision
from cluster.store.store import Store

NODES = "system:nodes"
PREFIX = "system:node:"
_READ = ("get", "list", "watch")
_NO = Decision(False)
_YES = Decision(True)

_FOR_EVERY_NODE: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "services"): _READ,
    ("", "nodes"): _READ,
    ("", "pods"): (*_READ, "create"),
    ("", "events"): ("create", "patch", "update"),
    ("discovery.k8s.io", "endpointslices"): _READ,
    ("node.k8s.io", "runtimeclasses"): _READ,
    ("storage.k8s.io", "csidrivers"): _READ,
    ("authentication.k8s.io", "tokenreviews"): ("create",),
    ("authorization.k8s.io", "subjectaccessreviews"): ("create",),
    ("authorization.k8s.io", "localsubjectaccessreviews"): ("create",),
    ("certificates.k8s.io", "certificatesigningrequests"): ("create", *_READ),
}
_OWN_NAME: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "nodes"): ("create", "update", "patch"),
    ("coordination.k8s.io", "leases"): ("get", "create", "update", "patch", "delete"),
    ("storage.k8s.io", "csinodes"): ("get", "create", "update", "patch", "delete"),
}
_OWN_PODS: dict[str, tuple[str, ...]] = {
    "": ("delete",),
    "status": ("patch", "update"),
    "eviction": ("create",),
}
_REFERRED = ("secrets", "configmaps", "persistentvolumeclaims")


class NodeAuthorizer:
    def __init__(self, store: Store) -> None:
        self._store = store

    def authorize(self, attributes: Attributes) -> Decision:
        user = attributes.user
        if NODES not in user.groups or not user.name.startswith(PREFIX):
            return _NO
        node = user.name.removeprefix(PREFIX)
        return _YES if self._allowed(node, attributes) else _NO

    def _allowed(self, node: str, asked: Attributes) -> bool:
        kind, verb = (asked.group, asked.resource), asked.verb
        if not asked.subresource and verb in _FOR_EVERY_NODE.get(kind, ()):
            return True
        if kind in _OWN_NAME and asked.subresource in ("", "status"):
            return verb in _OWN_NAME[kind] and asked.name in (node, "")
        if kind == ("", "pods"):
            return verb in _OWN_PODS.get(asked.subresource, ()) and self._runs(node, asked)
        if kind == ("", "serviceaccounts") and asked.subresource == "token":
            return verb == "create" and any(
                pod["spec"].get("serviceAccountName", "default") == asked.name
                for pod in self._pods(node, asked.namespace)
            )
        if asked.group == "" and asked.resource in _REFERRED and verb in _READ and asked.name:
            return any(
                asked.name in _references(pod, asked.resource) for pod in self._pods(node, asked.namespace)
            )
        return False

    def _runs(self, node: str, asked: Attributes) -> bool:
        entry = self._store.get("pods", Key(asked.namespace, asked.name))
        return entry is not None and entry.object["spec"].get("nodeName") == node

    def _pods(self, node: str, namespace: str) -> Iterator[Object]:
        for entry in self._store.by_index("pods", "node", node):
            if entry.key.namespace == namespace:
                yield entry.object


def _references(pod: Object, resource: str) -> Iterator[str]:
    spec = pod["spec"]
    for volume in spec.get("volumes") or ():
        yield from _volume_references(volume, resource)
    if resource == "persistentvolumeclaims":
        return
    if resource == "secrets":
        yield from (reference["name"] for reference in spec.get("imagePullSecrets") or ())
    kind = "secret" if resource == "secrets" else "configMap"
    for containers in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(containers) or ():
            for source in container.get("envFrom") or ():
                yield (source.get(f"{kind}Ref") or {}).get("name", "")
            for variable in container.get("env") or ():
                yield ((variable.get("valueFrom") or {}).get(f"{kind}KeyRef") or {}).get("name", "")


def _volume_references(volume: Object, resource: str) -> Iterator[str]:
    match resource:
        case "persistentvolumeclaims":
            yield (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
        case "secrets":
            yield (volume.get("secret") or {}).get("secretName", "")
        case _:
            yield (volume.get("configMap") or {}).get("name", "")
    for source in (volume.get("projected") or {}).get("sources") or ():
        part = source.get("secret" if resource == "secrets" else "configMap")
        if part:
            yield part.get("name", "")
