"""Small mutating plugins that complete objects from what else is in the cluster: taints of new nodes,
the default storage and ingress classes, the finalizers that protect volumes in use, and who asks for a
certificate (in Kubernetes not a plugin, but the kind's own strategy)."""

from __future__ import annotations

from cluster.api.objects import Object
from cluster.server.admission.request import Request, Setting

_NOT_READY = "node.kubernetes.io/not-ready"
_DEFAULT_STORAGE_CLASS = "storageclass.kubernetes.io/is-default-class"
_DEFAULT_INGRESS_CLASS = "ingressclass.kubernetes.io/is-default-class"
_LEGACY_STORAGE_CLASS = "volume.beta.kubernetes.io/storage-class"
_LEGACY_INGRESS_CLASS = "kubernetes.io/ingress.class"
_PROTECTION = {
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    "persistentvolumes": "kubernetes.io/pv-protection",
}


def taint_new_node(setting: Setting, request: Request) -> None:
    """TaintNodesByCondition: nothing is scheduled onto a node before it was seen ready."""
    spec = request.object.setdefault("spec", {})
    taints = spec.get("taints") or []
    if not any(taint["key"] == _NOT_READY and taint.get("effect") == "NoSchedule" for taint in taints):
        spec["taints"] = [*taints, {"key": _NOT_READY, "effect": "NoSchedule"}]


def protect_storage(setting: Setting, request: Request) -> None:
    """StorageObjectInUseProtection: a volume or claim outlives its users."""
    finalizer = _PROTECTION[request.qualified]
    metadata = request.object["metadata"]
    if finalizer not in (metadata.get("finalizers") or ()):
        metadata["finalizers"] = [*(metadata.get("finalizers") or ()), finalizer]


def set_requester(setting: Setting, request: Request) -> None:
    """Who asks for a certificate is who sends the request, whatever the body says."""
    user, spec = request.call.user, request.object["spec"]
    for name in ("username", "uid", "groups", "extra"):
        spec.pop(name, None)
    spec["username"] = user.name
    if user.uid:
        spec["uid"] = user.uid
    if user.groups:
        spec["groups"] = list(user.groups)
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in user.extra.items()}


def set_storage_class(setting: Setting, request: Request) -> None:
    """DefaultStorageClass: a claim that names no class gets the newest default one."""
    spec = request.object["spec"]
    annotations = request.object["metadata"].get("annotations") or {}
    if "storageClassName" in spec or _LEGACY_STORAGE_CLASS in annotations:
        return
    defaults = _defaults(setting, "storageclasses.storage.k8s.io", _DEFAULT_STORAGE_CLASS)
    if defaults:
        newest = max(defaults, key=lambda found: str(found["metadata"]["creationTimestamp"]))
        spec["storageClassName"] = newest["metadata"]["name"]


def set_ingress_class(setting: Setting, request: Request) -> None:
    """DefaultIngressClass: the same for an ingress."""
    spec = request.object.setdefault("spec", {})
    annotations = request.object["metadata"].get("annotations") or {}
    if spec.get("ingressClassName") or _LEGACY_INGRESS_CLASS in annotations:
        return
    defaults = _defaults(setting, "ingressclasses.networking.k8s.io", _DEFAULT_INGRESS_CLASS)
    if defaults:
        newest = max(defaults, key=lambda found: str(found["metadata"]["creationTimestamp"]))
        spec["ingressClassName"] = newest["metadata"]["name"]


def _defaults(setting: Setting, qualified: str, annotation: str) -> list[Object]:
    return [
        entry.object
        for entry in setting.store.list(qualified)
        if (entry.object["metadata"].get("annotations") or {}).get(annotation) == "true"
    ]
