"""NodeRestriction: what a node may write, of the objects that the node authorizer lets it reach.

Its own Node without taints, owners or labels that administrators keep for themselves; mirror pods and the
status of its own pods; its own Lease and CSINode; tokens for its own pods. Everybody who is no
node passes at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from cluster.api.errors import Forbidden, forbidden, not_found
from cluster.api.kinds import PODS
from cluster.api.objects import Key, Object
from cluster.server.admission.request import Operation, Request, Setting
from cluster.server.auth.node import LEASES, node_of
from cluster.server.call import Call
from cluster.store.store import Store

MIRROR = "kubernetes.io/config.mirror"
_RESERVED = "node-restriction.kubernetes.io"
_OWN_LABELS = frozenset({
    "kubernetes.io/arch", "kubernetes.io/hostname", "kubernetes.io/os", "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region", "topology.kubernetes.io/zone", "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type", "beta.kubernetes.io/os", "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
})  # fmt: skip
_OWN_PREFIXES = ("kubelet.kubernetes.io", "node.kubernetes.io")

Check: TypeAlias = Callable[[Setting, Request, str], None]


def check_node(setting: Setting, request: Request) -> None:
    """Raises Forbidden where the caller is a node and may not do this."""
    user = request.call.user
    node = node_of(user.name, user.groups)
    if node and (check := _CHECKS.get(request.qualified)) is not None:
        check(setting, request, node)


def _check_node(setting: Setting, request: Request, node: str) -> None:
    metadata, old = request.object.get("metadata") or {}, request.old
    if request.operation is Operation.DELETE or request.name != node:
        raise _refused(request, f'node "{node}" is not allowed to modify node "{request.name}"')
    if metadata.get("ownerReferences"):
        raise _refused(request, f'node "{node}" is not allowed to set ownerReferences')
    before: Mapping[str, Any] = old["metadata"].get("labels") or {} if old is not None else {}
    changed = _changed(metadata.get("labels") or {}, before)
    if wrong := sorted(label for label in changed if _is_reserved(label)):
        verb = "set" if old is None else "modify"
        raise _refused(request, f"is not allowed to {verb} the following labels: {', '.join(wrong)}")
    if old is not None and (request.object["spec"].get("taints") or []) != (old["spec"].get("taints") or []):
        raise _refused(request, f'node "{node}" is not allowed to modify taints')


def _changed(new: Mapping[str, str], old: Mapping[str, str]) -> set[str]:
    return {label for label in (*new, *old) if new.get(label) != old.get(label)}


def _is_reserved(label: str) -> bool:
    prefix, slash, _ = label.partition("/")
    if not slash or label in _OWN_LABELS:
        return False
    if _under(prefix, _RESERVED):
        return True
    if any(_under(prefix, own) for own in _OWN_PREFIXES):
        return False
    return _under(prefix, "kubernetes.io") or _under(prefix, "k8s.io")


def _under(prefix: str, domain: str) -> bool:
    return prefix == domain or prefix.endswith(f".{domain}")


def _check_pod(setting: Setting, request: Request, node: str) -> None:
    match request.operation:
        case Operation.CREATE:
            _check_mirror(request, node)
        case Operation.UPDATE if request.subresource == "status":
            _check_own(setting, request, node, "update status for pod with")
            if (request.object["metadata"].get("labels") or {}) != (
                (request.old or {}).get("metadata", {}).get("labels") or {}
            ):
                raise _refused(request, f'node "{node}" cannot update labels through pod status')
        case Operation.UPDATE:
            raise _refused(request, f'unexpected operation "UPDATE", node "{node}" can only create, delete')
        case Operation.DELETE:
            _check_own(setting, request, node, "delete pods with")


def _check_mirror(request: Request, node: str) -> None:
    pod, spec = request.object, request.object["spec"]
    if MIRROR not in (pod["metadata"].get("annotations") or {}):
        why = f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror pods'
        raise _refused(request, why)
    if spec.get("nodeName") != node:
        raise _refused(request, f'node "{node}" can only create pods with spec.nodeName set to itself')
    owners = pod["metadata"].get("ownerReferences") or ()
    if len(owners) > 1 or any(one.get("kind") != "Node" or one.get("name") != node for one in owners):
        raise _refused(request, f'node "{node}" can only create pods with an owner reference set to itself')
    if spec.get("serviceAccountName"):
        raise _refused(request, f'node "{node}" can not create pods that reference a service account')
    for volume in spec.get("volumes") or ():
        for kind, shown in _FORBIDDEN_VOLUMES.items():
            if kind in volume:
                raise _refused(request, f'node "{node}" can not create pods that reference {shown}')


_FORBIDDEN_VOLUMES = {
    "secret": "secrets",
    "configMap": "configmaps",
    "persistentVolumeClaim": "persistentvolumeclaims",
    "projected": "projected volumes",
}


def _check_own(setting: Setting, request: Request, node: str, what: str) -> None:
    entry = setting.store.get("pods", Key(request.namespace, request.name))
    if entry is None:
        raise not_found(request.resource, request.name)
    if entry.object["spec"].get("nodeName") != node:
        raise _refused(request, f'node "{node}" can only {what} spec.nodeName set to itself')


def _check_lease(setting: Setting, request: Request, node: str) -> None:
    if request.namespace != LEASES:
        raise _refused(request, f'can only access leases in the "{LEASES}" system namespace')
    if request.name != node:
        raise _refused(request, "can only access node lease with the same name as the requesting node")


def _check_csi_node(setting: Setting, request: Request, node: str) -> None:
    if request.name != node:
        raise _refused(request, "can only access CSINode with the same name as the requesting node")


def check_token(store: Store, call: Call, body: Object) -> None:
    """A node asks for tokens only that are bound to a pod of its own."""
    node = node_of(call.user.name, call.user.groups)
    if not node:
        return
    reference = (body.get("spec") or {}).get("boundObjectRef") or {}
    if reference.get("kind") != "Pod" or not reference.get("name"):
        raise forbidden(call.resource, call.name, "node requested token not bound to a pod")
    if not reference.get("uid"):
        raise forbidden(call.resource, call.name, "node requested token with a pod binding without a uid")
    pod = store.get("pods", Key(call.namespace, reference["name"]))
    if pod is None:
        raise not_found(PODS, reference["name"])
    if pod.uid != reference["uid"]:
        why = "node requested token bound to a pod with a different uid"
        raise forbidden(call.resource, call.name, why)
    if pod.object["spec"].get("nodeName") != node:
        why = "node requested token bound to a pod scheduled on a different node"
        raise forbidden(call.resource, call.name, why)


_CHECKS: dict[str, Check] = {
    "nodes": _check_node,
    "pods": _check_pod,
    "leases.coordination.k8s.io": _check_lease,
    "csinodes.storage.k8s.io": _check_csi_node,
}


def _refused(request: Request, why: str) -> Forbidden:
    return forbidden(request.resource, request.name, why)
