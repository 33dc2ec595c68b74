"""ServiceAccount: every pod runs as one, and finds its token, the cluster's CA and its namespace mounted."""

from __future__ import annotations

from typing import Any

from cluster.api.errors import forbidden
from cluster.api.kinds import PODS
from cluster.api.objects import Key, Object
from cluster.server.admission.request import Request, Setting

_MIRROR = "kubernetes.io/config.mirror"
_MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_VOLUME_PREFIX = "kube-api-access-"
_TOKEN_SECONDS = 3607
"""An hour and what tells this volume from one that a user wrote."""


def awaits_default_account(setting: Setting, request: Request) -> bool:
    """The pod needs the default account of its namespace, which its controller has yet to make."""
    name = request.object["spec"].get("serviceAccountName") or "default"
    key = Key(request.namespace, "default")
    return (
        name == "default"
        and setting.store.get("serviceaccounts", key) is None
        and setting.store.get("namespaces", Key("", request.namespace)) is not None
    )


def set_service_account(setting: Setting, request: Request) -> None:
    pod, spec = request.object, request.object["spec"]
    if _MIRROR in (pod["metadata"].get("annotations") or {}):
        if spec.get("serviceAccountName"):
            raise forbidden(PODS, request.name, "a mirror pod may not reference service accounts")
        return
    name = spec.get("serviceAccountName") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    entry = setting.store.get("serviceaccounts", Key(request.namespace, name))
    if entry is None:
        why = (
            f'error looking up service account {request.namespace}/{name}: serviceaccount "{name}" not found'
        )
        raise forbidden(PODS, request.name, why)
    account = entry.object
    if spec.get("automountServiceAccountToken", account.get("automountServiceAccountToken", True)):
        _mount_token(setting, spec)
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = [dict(reference) for reference in account["imagePullSecrets"]]


def _mount_token(setting: Setting, spec: Object) -> None:
    volumes = spec.get("volumes") or []
    own = [volume["name"] for volume in volumes if volume["name"].startswith(_VOLUME_PREFIX)]
    name = own[0] if own else _VOLUME_PREFIX + setting.chance.name_suffix()
    mounted = False
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        mounts = container.setdefault("volumeMounts", [])
        if not any(mount["mountPath"] == _MOUNT_PATH for mount in mounts):
            mounts.append({"name": name, "readOnly": True, "mountPath": _MOUNT_PATH})
            mounted = True
    if mounted and not own:
        spec["volumes"] = [*volumes, {"name": name, "projected": _projection()}]


def _projection() -> dict[str, Any]:
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
        ],
        "defaultMode": 420,
    }
