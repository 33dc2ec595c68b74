"""The node authorizer: a node's own identity reaches its own objects only.

A node is a user `system:node:<name>` in the group system:nodes. It may read what every node needs, its own
Node, Lease and CSINode, the pods bound to it, and those Secrets, ConfigMaps, claims and volumes that such a
pod refers to. Lists and watches of pods must be narrowed to the node by `spec.nodeName`, those of nodes by
`metadata.name`. What a node may write in the objects that it reaches is up to the NodeRestriction admission
plugin (`cluster.server.admission.node_restriction`).
"""

from __future__ import annotations

from collections.abc import Iterator

from cluster.api.objects import Key, Object
from cluster.server.auth.attributes import Attributes, Decision
from cluster.store.store import Store

NODES = "system:nodes"
PREFIX = "system:node:"
LEASES = "kube-node-lease"
_READ = ("get", "list", "watch")
_OWN = ("get", "create", "update", "patch", "delete")
_NO = Decision(False)
_YES = Decision(True)

_FOR_EVERY_NODE: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "services"): _READ,
    ("", "events"): ("create", "patch", "update"),
    ("", "endpoints"): ("get",),
    ("discovery.k8s.io", "endpointslices"): _READ,
    ("node.k8s.io", "runtimeclasses"): _READ,
    ("storage.k8s.io", "csidrivers"): _READ,
    ("authentication.k8s.io", "tokenreviews"): ("create",),
    ("authorization.k8s.io", "subjectaccessreviews"): ("create",),
    ("authorization.k8s.io", "localsubjectaccessreviews"): ("create",),
    ("certificates.k8s.io", "certificatesigningrequests"): ("create", *_READ),
}
_PODS: dict[str, tuple[str, ...]] = {
    "": ("create", "delete"),
    "status": ("patch", "update"),
    "eviction": ("create",),
}
"""What NodeRestriction narrows to the node's own pods."""
_REFERRED = ("secrets", "configmaps", "persistentvolumeclaims")


def node_of(name: str, groups: tuple[str, ...]) -> str:
    """The node that a user is; empty for everybody else."""
    return name.removeprefix(PREFIX) if NODES in groups and name.startswith(PREFIX) else ""


class NodeAuthorizer:
    def __init__(self, store: Store) -> None:
        self._store = store

    def authorize(self, attributes: Attributes) -> Decision:
        node = node_of(attributes.user.name, attributes.user.groups)
        if not node or not attributes.resource:
            return _NO
        kind, verb = (attributes.group, attributes.resource), attributes.verb
        if not attributes.subresource and verb in _FOR_EVERY_NODE.get(kind, ()):
            return _YES
        match kind:
            case ("", "nodes"):
                return _node(node, attributes)
            case ("", "pods"):
                return self._pod(node, attributes)
            case ("", "serviceaccounts"):
                return self._account(node, attributes)
            case ("coordination.k8s.io", "leases"):
                return _lease(node, attributes)
            case ("storage.k8s.io", "csinodes"):
                return _csi_node(node, attributes)
            case ("storage.k8s.io", "volumeattachments") | ("", "persistentvolumes"):
                return self._volume(node, attributes)
        if attributes.group == "" and attributes.resource in _REFERRED:
            return self._referred(node, attributes)
        return _NO

    def _pod(self, node: str, asked: Attributes) -> Decision:
        if asked.verb in _PODS.get(asked.subresource, ()):
            return _YES
        if asked.subresource or asked.verb not in _READ:
            return _NO
        if asked.verb != "get":
            narrowed = f"spec.nodeName={node}" in asked.field_selector.replace("==", "=").split(",")
            return _YES if narrowed else _no("can only list/watch pods with spec.nodeName field selector")
        return _related(node, any(pod["metadata"]["name"] == asked.name for pod in self._pods(node, asked)))

    def _account(self, node: str, asked: Attributes) -> Decision:
        if asked.subresource != "token" or asked.verb != "create":
            return _no("can only create tokens for individual service accounts")
        named = (pod["spec"].get("serviceAccountName", "default") for pod in self._pods(node, asked))
        return _related(node, asked.name in named)

    def _referred(self, node: str, asked: Attributes) -> Decision:
        claims = asked.resource == "persistentvolumeclaims"
        if asked.subresource:
            if not claims or asked.subresource != "status" or asked.verb not in ("get", "update", "patch"):
                return _no("cannot get subresource")
        elif asked.verb not in (("get",) if claims else _READ):
            return _no("can only get individual resources of this type")
        if not asked.name:
            return _no("No Object name found")
        found = any(asked.name in _references(pod, asked.resource) for pod in self._pods(node, asked))
        return _related(node, found)

    def _volume(self, node: str, asked: Attributes) -> Decision:
        if asked.verb != "get" or asked.subresource:
            return _no("can only get individual resources of this type")
        if asked.resource == "volumeattachments":
            entry = self._store.get("volumeattachments.storage.k8s.io", Key("", asked.name))
            return _related(node, entry is not None and entry.object["spec"].get("nodeName") == node)
        volume = self._store.get("persistentvolumes", Key("", asked.name))
        claim = (volume.object["spec"].get("claimRef") or {}) if volume is not None else {}
        used = any(
            pod["metadata"]["namespace"] == claim.get("namespace")
            and claim["name"] in _references(pod, "persistentvolumeclaims")
            for pod in self._all_pods(node)
        )
        return _related(node, used)

    def _pods(self, node: str, asked: Attributes) -> Iterator[Object]:
        """The node's pods in the namespace of the question."""
        return (pod for pod in self._all_pods(node) if pod["metadata"]["namespace"] == asked.namespace)

    def _all_pods(self, node: str) -> Iterator[Object]:
        return (entry.object for entry in self._store.by_index("pods", "node", node))


def _no(reason: str) -> Decision:
    return Decision(False, reason)


def _related(node: str, found: bool) -> Decision:
    return _YES if found else _no(f"no relationship found between node '{node}' and this object")


def _node(node: str, asked: Attributes) -> Decision:
    if asked.subresource not in ("", "status"):
        return _NO
    if asked.verb in ("create", "update", "patch"):
        return _YES
    if asked.verb not in _READ or asked.subresource:
        return _NO
    if asked.name == node:
        return _YES
    wanted = f"'{asked.name}'" if asked.name else "all nodes"
    return _no(f"node '{node}' cannot read {wanted}, only its own Node object")


def _lease(node: str, asked: Attributes) -> Decision:
    if asked.verb not in _OWN or asked.subresource:
        return _no("can only get, create, update, patch, or delete a node lease")
    if asked.namespace != LEASES:
        return _no(f'can only access leases in the "{LEASES}" system namespace')
    if asked.verb != "create" and asked.name != node:
        return _no("can only access node lease with the same name as the requesting node")
    return _YES


def _csi_node(node: str, asked: Attributes) -> Decision:
    if asked.verb not in _OWN or asked.subresource:
        return _no("can only get, create, update, patch, or delete a CSINode")
    if asked.verb != "create" and asked.name != node:
        return _no("can only access CSINode with the same name as the requesting node")
    return _YES


def _references(pod: Object, resource: str) -> Iterator[str]:
    spec = pod["spec"]
    for volume in spec.get("volumes") or ():
        yield from _volume_references(pod, volume, resource)
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


def _volume_references(pod: Object, volume: Object, resource: str) -> Iterator[str]:
    match resource:
        case "persistentvolumeclaims":
            yield (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
            if "ephemeral" in volume:
                yield f"{pod['metadata']['name']}-{volume['name']}"
        case "secrets":
            yield (volume.get("secret") or {}).get("secretName", "")
        case _:
            yield (volume.get("configMap") or {}).get("name", "")
    for source in (volume.get("projected") or {}).get("sources") or ():
        part = source.get("secret" if resource == "secrets" else "configMap")
        if part:
            yield part.get("name", "")
